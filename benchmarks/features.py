"""Claim: after ten minutes on two cores, every task's features beat pixels + PCA and an untrained network.

Of each task: `initpools pretrain` with its defaults and as many epochs as the first one's speed says will fit into the
budget, then `initpools embed`, whose linear probe and k-NN accuracy on the test split are what counts. The baselines
are `initpools embed pca`, and the same network before training. One seed: a few tenths of a point are noise (2,000 test
images: 95 % of repetitions within about 2 points).

    python benchmarks/features.py FILE.npz [seconds] [threads] [task ...]    (defaults: 600, all cores, every task but
                                                                              scan; two hours)

Adds lines to benchmarks/results/features.csv.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import tomli
import torch
from record import initpools, record, untrained_simclr

from initpools_cli.core.cpu import machine
from initpools_cli.pretext.registry import pretexts
from initpools_cli.training.feature_quality import knn_accuracy, linear_accuracy, probe_rows
from initpools_cli.training.infer import features

TASKS = [method.name for method in pretexts if method.name != "scan"]


def outcome(run, source):
    return tomli.loads((run / "embed" / source / "step.toml").read_text())["outcome"]


def trained(task, file, budget, threads, folder):
    """Train within the budget and embed: what embed measured, the epochs, and the seconds that training took."""
    words = ["pretrain", task, "--dataset", file, "--threads", threads]
    initpools(*words, "--run", folder / "one", "--set", "pretrain.epochs=1")
    images = tomli.loads((folder / "one/pretrain" / task / "step.toml").read_text())["outcome"]["images"]
    speed = pd.read_csv(folder / "one/pretrain" / task / "log.csv")["images_per_second"][0]
    epochs = max(1, int(0.95 * budget * speed / images))
    start = time.perf_counter()
    initpools(*words, "--run", folder / "run", "--set", f"pretrain.epochs={epochs}")
    seconds = time.perf_counter() - start
    initpools("embed", task, "--run", folder / "run", "--threads", threads)
    return outcome(folder / "run", task), epochs, seconds


def untrained(file):
    """The small network with the weights that SimCLR would begin from, probe_rows as `initpools embed` probes."""
    data = np.load(file)
    images, test = data["train_images"], data["test_images"]
    task = untrained_simclr("convnet", images.shape[3], images.shape[1])
    inside, outside = (
        np.concatenate(list(features(task, split, layer="backbone", batch=256, device=torch.device("cpu"))))
        for split in (images, test)
    )
    labels, truth = (data[f"{split}_labels"].ravel().astype(np.int64) for split in ("train", "test"))
    rows = probe_rows(np.arange(len(inside)), inside.shape[1])
    return {
        "linear_accuracy": linear_accuracy(inside[rows], labels[rows], outside, truth)[0],
        "knn_accuracy": knn_accuracy(inside[rows], labels[rows], outside, truth),
    }


def note(name, file, metrics, epochs="", seconds="", threads=""):
    row = {
        **machine(),
        "torch": torch.__version__,
        "data": Path(file).name,
        "features": name,
        "threads": threads,
        "epochs": epochs,
        "seconds": f"{seconds:.0f}" if seconds else "",
        "linear_accuracy": f"{metrics['linear_accuracy']:.4f}",
        "knn_accuracy": f"{metrics['knn_accuracy']:.4f}",
        "rank": f"{metrics['rank']:.1f}" if "rank" in metrics else "",
    }
    record("features", row)
    print("  ".join(row[key] for key in ("features", "linear_accuracy", "knn_accuracy")), flush=True)
    return metrics["linear_accuracy"]


def main():
    file = sys.argv[1]
    budget = float(sys.argv[2]) if len(sys.argv) > 2 else 600.0
    threads = int(sys.argv[3]) if len(sys.argv) > 3 else os.cpu_count()
    with tempfile.TemporaryDirectory() as folder:
        initpools("embed", "pca", "--dataset", file, "--run", Path(folder) / "run")
        bar = max(note("untrained", file, untrained(file)), note("pca", file, outcome(Path(folder) / "run", "pca")))
        for task in sys.argv[4:] or TASKS:
            metrics, epochs, seconds = trained(task, file, budget, threads, Path(folder) / task)
            margin = note(task, file, metrics, epochs, seconds, threads) - bar
            print(f"{task}: {100 * margin:+.1f} points over the better baseline.", flush=True)


if __name__ == "__main__":
    main()
