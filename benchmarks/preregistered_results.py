"""Collect the results of the preregistered studies into results/preregistered*.

Claim:    none; docs/findings.md says what was found.
Command:  python benchmarks/preregistered_results.py DATA RUNS

`preregistered.parquet` has a row for each cell and round of every sweep that is finished. `preregistered-windows.csv`
has the pools of H1.4, `preregistered-losses.csv` the correlations of H1.3, and `preregistered-time.csv` the machine and
the time of every step.
"""

from __future__ import annotations

import argparse
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import torch
from preregistered import LITE0, SEEDS
from record import RESULTS
from scipy.stats import spearmanr

from initpools_cli.core.cpu import machine
from initpools_cli.core.rundir import Run
from initpools_cli.core.seeds import generator
from initpools_cli.geometry.standardize import scaling
from initpools_cli.stats.long_tail import labels_until_seen
from initpools_cli.steps.context import read_items
from initpools_cli.sweeps.long_tail import long_tail_of, with_rare_recall
from initpools_cli.sweeps.results import rounds_of
from initpools_cli.training.learners.linear import fit_together

#: H1.4: pools, images of a pool, share of the ranking that a pool is drawn from.
WINDOWS, SIZE, SHARE = 400, 200, 0.1
CELL = ["init", "query", "learner", "encoder", "seed"]
START = [column for column in CELL if column != "query"]
METRICS = ["accuracy", "balanced_accuracy", "auc", "absent_classes"]


def class_facts(done, labels, classes):
    """Tabulate for each cell the entropy of its first pool's classes and the labels until every class is seen."""
    size, rows = done.table["init_budget"], []
    with np.load(done.folder / "picks.npz") as picks:
        for key in picks.files:
            bought = labels[picks[key]]
            counts = np.bincount(bought[:size], minlength=classes)
            share = counts[counts > 0] / counts.sum()
            entropy = float(-(share * np.log(share)).sum() / np.log(classes))
            init, query, learner, encoder, seed = key.split("|")
            rows.append(
                (init, query, learner, encoder, int(seed), entropy, labels_until_seen(bought, np.arange(classes)))
            )
    return pd.DataFrame(rows, columns=[*CELL, "class_entropy", "labels_until_seen"])


def cells(run):
    """Tabulate the rounds of all finished sweeps of a run."""
    items = read_items(run)
    labels = items.loc[items["split"] == "train", "label"].to_numpy(np.int64)
    classes, parts = int(labels.max()) + 1, []
    for done in run.steps("al"):
        rounds, tail = rounds_of(done), long_tail_of(done)
        if tail is not None:
            rounds = with_rare_recall(done, rounds, tail)
        facts = class_facts(done, labels, classes)
        # Rows of the first round have no query: its pool is the same for all of them.
        start = facts.drop_duplicates(START)[[*START, "class_entropy"]]
        rounds = rounds.merge(start, on=START, how="left")
        rounds = rounds.merge(facts.drop(columns="class_entropy"), on=CELL, how="left")
        shown = [*CELL, "round", "labeled", *METRICS, *(["rare_recall"] if tail is not None else []), "status"]
        parts.append(rounds[[*shown, "class_entropy", "labels_until_seen"]].assign(run=run.path.name, sweep=done.name))
    return parts


def losses(run):
    """Return the reconstruction losses of the train images of a run, (n,)."""
    (done,) = run.steps("score")
    return done.array("scores.npy")


def sizes_and_contrast(data):
    """Return the JPEG sizes in bytes and the contrast of CIFAR-10's train images, both (n,)."""
    sizes = []
    for shard in sorted((data / "cifar10").glob("train-*.parquet")):
        for batch in pq.ParquetFile(shard).iter_batches(columns=["image"]):
            sizes += [len(row["image"]["bytes"]) for row in batch.to_pylist()]
    images = np.load(data / "cifar10.npz")["train_images"]
    return np.array(sizes), images.reshape(len(images), -1).std(axis=1, dtype=np.float64)


def windows(run, size, contrast):
    """Measure random pools from windows of the ranking by loss."""
    items = read_items(run)
    labels = {name: items.loc[items["split"] == name, "label"].to_numpy(np.int64) for name in ("train", "test")}
    embeddings = {name: np.load(run.path / "embed" / LITE0 / f"{name}.npy") for name in ("train", "test")}
    apply = scaling(embeddings["train"], "each")
    train, test = (apply(embeddings[name]).astype(np.float64) for name in ("train", "test"))
    scores = losses(run)
    ranking, rng = np.argsort(-scores, kind="stable"), generator(0, "windows")
    width, classes, rows = int(SHARE * len(ranking)), int(labels["train"].max()) + 1, []
    for number in range(WINDOWS):
        start = int(rng.integers(len(ranking) - width + 1))
        pool = rng.choice(ranking[start : start + width], SIZE, replace=False)
        # The weights of a penalized fit are combinations of the pool's rows, so their span will do.
        basis, corner = np.linalg.qr(train[pool].T)
        (model,) = fit_together(corner.T[None], labels["train"][pool][None], classes, [0], None)
        right = model.logits(test @ basis).argmax(1) == labels["test"]
        counts = np.bincount(labels["train"][pool], minlength=classes)
        share = counts[counts > 0] / SIZE
        rows.append(
            {
                "pool": number,
                "start": start,
                "accuracy": right.mean(),
                "loss": scores[pool].mean(),
                "jpeg_bytes": size[pool].mean(),
                "contrast": contrast[pool].mean(),
                "class_entropy": -(share * np.log(share)).sum() / np.log(classes),
            }
        )
    return pd.DataFrame(rows)


def correlations(runs, size, contrast):
    """Tabulate the rank correlations of every autoencoder's loss with contrast and file size."""
    rows = []
    for kind in ("vae", "tanh"):
        for seed in SEEDS:
            values = losses(Run(runs / f"cifar10-{kind}{seed}"))
            rows.append(
                {
                    "decoder": "tanh" if kind == "tanh" else "sigmoid",
                    "seed": seed,
                    "contrast": spearmanr(values, contrast).statistic,
                    "jpeg_bytes": spearmanr(values, size).statistic,
                }
            )
    return pd.DataFrame(rows)


def times(run):
    """Tabulate the seconds of every step of a run."""
    for done in run.steps():
        started, finished = (datetime.fromisoformat(done.facts[end]) for end in ("started", "finished"))
        yield {
            "run": run.path.name,
            "step": done.id,
            "seconds": (finished - started).total_seconds(),
            "threads": done.facts.get("threads"),
            "torch": done.facts.get("torch"),
            **machine(),
        }


def write(name, table):
    table.to_csv(RESULTS / f"{name}.csv", index=False, float_format="%.6g", lineterminator="\n")
    print(f"{name}: {len(table)} rows")


def main():
    parser = argparse.ArgumentParser(description="Collect the results of the preregistered studies.")
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    runs = [Run(folder) for folder in sorted(args.runs.iterdir()) if (folder / "run.toml").exists()]
    table = pd.concat([part for run in runs for part in cells(run)], ignore_index=True)
    table.to_parquet(RESULTS / "preregistered.parquet", index=False, compression="zstd")
    print(f"preregistered: {len(table)} rows")
    size, contrast = sizes_and_contrast(args.data)
    write("preregistered-losses", correlations(args.runs, size, contrast))
    write("preregistered-windows", windows(Run(args.runs / "cifar10-vae0"), size, contrast))
    write("preregistered-time", pd.DataFrame([row for run in runs for row in times(run)]))


if __name__ == "__main__":
    main()
