"""Claim: with groups, images of one patient do not leak into the test split.

PATIENTS patients have FRAMES nearly equal images each, and a class that is drawn for the patient and does not show in
the images: half of the patients have each class, so nothing can be learned about a new patient, and 50 % is chance. For
each root seed, a run with its own split: PCA embeddings, 60 and then 120 labels drawn at random, logistic regression.

- `without`: the stratified random split of images.
- `with`: the split of whole patients (`--groups`).

Columns: mean, lowest and highest accuracy over SEEDS root seeds, in percent.

Claim: the interval of an accuracy over groups contains it in 86 to 100 % of cases. Simulated: groups of 5 to 39 images,
whose accuracies have a beta distribution with a mean and a correlation within groups; share of DRAWS draws whose
interval contains the mean, over groups and, as if images were independent, over images.

    python benchmarks/groups.py SEEDS       (0: the intervals alone)

Adds lines to benchmarks/results/groups.csv and groups-intervals.csv.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import sys
import tempfile
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
from record import record

from initpools_cli.cli.app import run
from initpools_cli.core.cpu import machine
from initpools_cli.stats.group_interval import grouped_interval
from initpools_cli.stats.proportions import wilson_interval

PATIENTS, FRAMES = 24, 25
DRAWS = 600
FIGURES = ("mean", "lowest", "highest")


def write_patients(folder):
    """Write images, labels and the groups of all images."""
    rng = np.random.default_rng(0)
    textures = rng.integers(0, 255, (PATIENTS, 28, 28))
    labels = np.repeat([0, 1], PATIENTS // 2)
    rng.shuffle(labels)
    images = [np.clip(each[None] + rng.normal(0, 12, (FRAMES, 28, 28)), 0, 255) for each in textures]
    np.savez(
        folder / "patients.npz",
        train_images=np.concatenate(images).astype(np.uint8),
        train_labels=np.repeat(labels, FRAMES),
    )
    rows = [f"{index},patient-{index // FRAMES:02d}" for index in range(PATIENTS * FRAMES)]
    (folder / "patients.csv").write_text("\n".join(["index,group", *rows]) + "\n")


def accuracy(folder, seed, groups):
    """Accuracy after the second round, of a run of its own."""
    place = ["--run", str(folder / f"run-{bool(groups)}-{seed}"), "--threads", "1", "--quiet"]
    commands = [
        ["embed", "pca", *place, "--dataset", str(folder / "patients.npz"), "--seed", str(seed), *groups],
        ["al-run", "--init", "random", "--query", "random", "--budget", "60", "--rounds", "1", "--seeds", "3", *place],
    ]
    for command in commands:
        with contextlib.redirect_stdout(io.StringIO()):
            assert run(command) == 0, command
    rounds = pd.read_csv(Path(place[1]) / "al" / "main" / "rounds.csv")
    return 100 * rounds.loc[rounds["round"] == 1, "accuracy"].mean()


def coverage(count, mean, correlation):
    """Shares of intervals that contain the mean: over groups, and over images."""
    rng = np.random.default_rng([count, int(100 * mean), int(100 * correlation)])
    concentration = 1 / correlation - 1
    hits = np.zeros(2)
    for _ in range(DRAWS):
        sizes = rng.integers(5, 40, count)
        right = rng.random(sizes.sum()) < np.repeat(
            rng.beta(mean * concentration, (1 - mean) * concentration, count), sizes
        )
        by_groups = grouped_interval(right, np.repeat(np.arange(count), sizes))
        for place, (low, high) in enumerate((by_groups, wilson_interval(right.mean(), len(right)))):
            hits[place] += low <= mean <= high
    return hits / DRAWS


def main(seeds):
    facts = {"date": date.today().isoformat(), "machine": machine()}
    for count, mean, correlation in itertools.product((4, 8, 20, 60), (0.5, 0.85, 0.95), (0.02, 0.3, 0.8)):
        over_groups, over_images = coverage(count, mean, correlation)
        row = {"groups": count, "accuracy": mean, "correlation": correlation}
        record(
            "groups-intervals", row | {"over_groups": f"{over_groups:.3f}", "over_images": f"{over_images:.3f}"} | facts
        )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_patients(folder)
        splits = {"without": [], "with": ["--groups", str(folder / "patients.csv")]}
        for split, groups in splits.items() if seeds else ():
            accuracies = np.array([accuracy(folder, seed, groups) for seed in range(seeds)])
            row = {"split": split, "seeds": seeds}
            row |= {
                key: f"{getattr(accuracies, how)():.1f}"
                for key, how in zip(FIGURES, ("mean", "min", "max"), strict=True)
            }
            record("groups", row | facts)


if __name__ == "__main__":
    main(int(sys.argv[1]))
