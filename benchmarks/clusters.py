"""Claim: SCAN on top of SimCLR, small network and defaults but for the epochs, clusters MNIST with an accuracy >= 0.80.

The accuracy is that of the best matching of clusters and classes, on the test split; labels serve for nothing else. One
seed.

    python benchmarks/clusters.py FILE.npz [epochs of SimCLR] [epochs of SCAN] [threads]    (defaults: 8, 5, all cores)

Adds a line to benchmarks/results/clusters.csv.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import tomli
import torch
from record import initpools, record, show

from initpools_cli.core.cpu import machine

CLAIM = 0.80


def timed(*words):
    start = time.perf_counter()
    initpools(*words)
    return time.perf_counter() - start


def main():
    file, simclr, scan, threads = [*sys.argv[1:], *(None, 8, 5, os.cpu_count())[len(sys.argv) - 1 :]]
    with tempfile.TemporaryDirectory() as folder:
        where = ["--run", Path(folder) / "run", "--threads", threads]
        first = timed("pretrain", "simclr", "--dataset", file, *where, "--set", f"pretrain.epochs={simclr}")
        second = timed("pretrain", "scan", *where, "--set", f"pretrain.epochs={scan}")
        outcome = tomli.loads((Path(folder) / "run/pretrain/scan/step.toml").read_text())["outcome"]
    row = {
        **machine(),
        "torch": torch.__version__,
        "data": Path(file).name,
        "threads": threads,
        "simclr_epochs": simclr,
        "simclr_seconds": f"{first:.0f}",
        "scan_epochs": scan,
        "scan_seconds": f"{second:.0f}",
        **{key: f"{value:.4f}" for key, value in outcome.items() if key.startswith(("train_", "test_"))},
    }
    record("clusters", row)
    show(row)
    print(f"The claim (test_acc at least {CLAIM}) {'holds' if outcome['test_acc'] >= CLAIM else 'does not hold'}.")


if __name__ == "__main__":
    main()
