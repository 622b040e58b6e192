"""Claim: three rounds of the labeling loop reach a better accuracy than three random ones at the same cost.

The commands that a person types, with a table of labels as the annotator: `initpools pretrain simclr` on all images of
a folder, 20 images by `select-pool`, then three rounds of 20 by `al-run --labels … --next …`. What counts is the
accuracy on a fifth of the images, which is never offered for labeling. Each arm is a first pool and a query; over root
seeds, paired by seed with the arm that is random throughout. Where nothing in an arm is drawn, its seeds are one run,
and there is no p: what counts is the share of the random runs that it beats.

    python benchmarks/labeling.py FOLDER LABELS.csv [seeds] [epochs]    (defaults: 10, 60; some ten minutes)

Adds lines to benchmarks/results/labeling.csv.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from record import initpools, record, show

from initpools_cli.cli.app import run as run_command_line
from initpools_cli.core.cpu import machine
from initpools_cli.stats.paired import paired

ARMS = [
    ("random", "random"),
    ("typiclust", "margin"),
    ("typiclust", "typiclust"),
    ("maxherding", "maxherding"),
    ("maxherding", "badge"),
    ("maxherding", "random"),
]
BATCH, ROUNDS = 20, 3


def command(*words):
    """Run a command line in this process, and give what it prints with --json."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        code = run_command_line([*map(str, words), "--quiet", "--json"])
    assert code == 0, words
    return json.loads(output.getvalue())


def annotate(batch, truth, target):
    rows = pd.read_csv(batch, dtype=str, keep_default_na=False)
    rows["label"] = truth[rows["path"]].to_numpy()
    rows.to_csv(target, index=False)


def accuracies(base, init, query, seed, truth, desk):
    """Test accuracy with 20, 40, 60, 80 labels."""
    run, batch = desk / "run", desk / "batch.csv"
    shutil.copytree(base, run)
    run_options = ["--run", run, "--seed", seed]
    command("select-pool", init, "--budget", BATCH, "-o", batch, *run_options)
    values = []
    for _ in range(ROUNDS + 1):
        annotate(batch, truth, desk / "labeled.csv")
        batch.unlink()
        next_options = ["--query", query, "--budget", BATCH, "--next", batch]
        values.append(command("al-run", "--labels", desk / "labeled.csv", *next_options, *run_options)["test_accuracy"])
    shutil.rmtree(run)
    return values


def main():
    folder, labels = sys.argv[1], sys.argv[2]
    seeds, epochs = (int(sys.argv[place]) if len(sys.argv) > place else usual for place, usual in ((3, 10), (4, 60)))
    truth = pd.read_csv(labels).set_index("path")["label"]
    with tempfile.TemporaryDirectory() as folder_name:
        desk = Path(folder_name)
        os.environ.setdefault("INITPOOLS_DATA", str(desk / "data"))
        base = desk / "base"
        initpools(
            "pretrain", "simclr", "--dataset", folder, "--run", base, "--epochs", epochs,
            "--set", f"dataset.labels={labels}",
        )  # fmt: skip
        initpools("embed", "--run", base)
        values = {arm: np.array([accuracies(base, *arm, seed, truth, desk) for seed in range(seeds)]) for arm in ARMS}
    baseline = values[ARMS[0]]
    for (init, query), each in values.items():
        for place in range(ROUNDS + 1):
            test = paired(each[:, place], baseline[:, place])
            beaten = (each[:, place, None] > baseline[None, :, place]).mean()
            row = {
                "init": init,
                "query": query,
                "labeled": BATCH * (place + 1),
                "seeds": seeds,
                "epochs": epochs,
                "accuracy": round(float(each[:, place].mean()), 4),
                "deviation": round(float(each[:, place].std(ddof=1)), 4),
                "minus_random": round(test.difference, 4),
                "p": round(test.p, 4),
                "random_runs_beaten": round(float(beaten), 2),
                **machine(),
            }
            record("labeling", row)
            show(row)


if __name__ == "__main__":
    main()
