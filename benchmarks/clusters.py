"""Claim: SCAN on top of SimCLR, small network and defaults but for the epochs, clusters MNIST with an accuracy >= 0.80.

The accuracy is that of the best matching of clusters and classes, on the test split; labels serve for nothing else. One
seed.

    python benchmarks/clusters.py FILE.npz [epochs of SimCLR] [epochs of SCAN] [threads]    (defaults: 8, 5, all cores)

Adds a line to benchmarks/results/clusters.csv.
"""

from __future__ import annotations

import csv
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import tomli
import torch
from neighbors import cpu

CLAIM = 0.80
RESULTS = Path(__file__).parent / "results" / "clusters.csv"


def initpools(*words):
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "initpools_cli.cli.app", *map(str, words), "--quiet"], check=True)
    return time.perf_counter() - started


def main():
    file, simclr, scan, threads = [*sys.argv[1:], *(None, 8, 5, os.cpu_count())[len(sys.argv) - 1 :]]
    with tempfile.TemporaryDirectory() as folder:
        where = ["--run", Path(folder) / "run", "--threads", threads]
        first = initpools("pretrain", "simclr", "--dataset", file, *where, "--set", f"pretrain.epochs={simclr}")
        second = initpools("pretrain", "scan", *where, "--set", f"pretrain.epochs={scan}")
        found = tomli.loads((Path(folder) / "run/pretrain/scan/step.toml").read_text())["outcome"]
    row = {
        "cpu": cpu(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "data": Path(file).name,
        "threads": threads,
        "simclr_epochs": simclr,
        "simclr_seconds": f"{first:.0f}",
        "scan_epochs": scan,
        "scan_seconds": f"{second:.0f}",
        **{key: f"{value:.4f}" for key, value in found.items() if key.startswith(("train_", "test_"))},
    }
    new = not RESULTS.exists()
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, row, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)
    print("\n".join(f"{name:20} {value}" for name, value in row.items()))
    print(f"The claim (test_acc at least {CLAIM}) {'holds' if found['test_acc'] >= CLAIM else 'does not hold'}.")


if __name__ == "__main__":
    main()
