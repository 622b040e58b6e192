"""Claim: 20 seeds x 8 first pools x 6 queries x 10 rounds, linear, on MNIST take under 15 minutes on 2 cores.

60,000 images with 128 features each (SimCLR's projector after one epoch), 10 labels and 10 more each round: 960
cells, 10,560 models, each measured on 10,000 test images. `initpools al-run` does all of it.

The baseline is the loop as one would write it: for every cell and round scikit-learn's LogisticRegression with the
same objective, probabilities of all candidates, the query in plain NumPy (BADGE with its gradient embeddings written
out), and scikit-learn's metrics. It does one seed of one first pool with every query on one thread; the seconds a cell,
times 960, over two cores, are set against ours.

    python benchmarks/sweep.py FILE.npz     (MNIST in MedMNIST's layout; ten minutes)

Adds lines to benchmarks/results/sweep.csv.
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from record import initpools, record, show
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, log_loss, roc_auc_score
from threadpoolctl import threadpool_limits

from initpools_cli.core.cpu import machine

INITS = ["random", "kmeans", "kmeans++", "kcenter", "typiclust", "stratified", "prototypicality", "outlier"]
QUERIES = ["random", "least-confidence", "margin", "entropy", "kcenter", "badge"]
SEEDS, ROUNDS, BUDGET, PENALTY = 20, 10, 10, 0.1
GOAL_SECONDS = 900


def whole_sweep(file, folder, threads):
    """Seconds of the sweep, from the command to its results, and its rows."""
    run = Path(folder) / "run"
    initpools("pretrain", "simclr", "--dataset", file, "--run", run, "--epochs", 1)
    initpools("embed", "simclr", "--run", run, "--set", "embed.layer=projector")
    start = time.perf_counter()
    initpools(
        "al-run", "--run", run, "--from", "simclr-projector",
        "--init", ",".join(INITS), "--query", ",".join(QUERIES), "--budget", BUDGET,
        "--rounds", ROUNDS, "--seeds", SEEDS, "--threads", threads,
    )  # fmt: skip
    return time.perf_counter() - start, pd.read_csv(run / "al/main/rounds.csv"), run


def by_hand(query, inputs, labels, test, truth, rng):
    """One cell from a random first pool: the accuracy of every round."""
    unit = inputs / np.maximum(np.linalg.norm(inputs, axis=1, keepdims=True), 1e-12)
    candidates = rng.choice(len(inputs), int(0.9 * len(inputs)), replace=False)
    labeled = candidates[:BUDGET]
    accuracies = []
    for round_ in range(ROUNDS + 1):
        features = np.c_[inputs[labeled], np.ones(len(labeled))]
        model = LogisticRegression(C=1 / (PENALTY * len(labeled)), fit_intercept=False, tol=1e-5, max_iter=500)
        model.fit(features, labels[labeled])
        probs = np.zeros((len(test), 10))
        probs[:, model.classes_] = model.predict_proba(np.c_[test, np.ones(len(test))])
        predictions = probs.argmax(1)
        balanced_accuracy_score(truth, predictions)
        roc_auc_score(truth, probs, multi_class="ovr")
        log_loss(truth, np.clip(probs, 1e-12, None))
        accuracies.append((predictions == truth).mean())
        if round_ < ROUNDS:
            free = np.setdiff1d(candidates, labeled)
            labeled = np.concatenate([labeled, ask(query, free, labeled, model, inputs, unit, rng)])
    return accuracies


def ask(query, free, labeled, model, inputs, unit, rng):
    if query == "random":
        return rng.choice(free, BUDGET, replace=False)
    if query == "kcenter":
        nearest = np.full(len(free), np.inf)
        for other in labeled:
            nearest = np.minimum(nearest, np.linalg.norm(unit[free] - unit[other], axis=1))
        return free[farthest(nearest, lambda at: np.linalg.norm(unit[free] - unit[free[at]], axis=1))]
    probs = model.predict_proba(np.c_[inputs[free], np.ones(len(free))])
    if query == "badge":
        return free[badge(probs, inputs[free], rng)]
    sorted_probs = np.sort(probs, axis=1)
    scores = {
        "least-confidence": -sorted_probs[:, -1],
        "margin": sorted_probs[:, -2] - sorted_probs[:, -1],
        "entropy": -(probs * np.log(np.maximum(probs, 1e-300))).sum(1),
    }
    return free[np.argsort(-scores[query])[:BUDGET]]


def farthest(nearest, distances):
    picks = []
    for _ in range(BUDGET):
        picks.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, distances(picks[-1]))
    return picks


def badge(probs, features, rng):
    """k-means++ on the gradient embeddings, written out."""
    error = probs - np.eye(probs.shape[1])[probs.argmax(1)]
    gradients = (error[:, :, None] * features[:, None, :]).reshape(len(probs), -1).astype(np.float32)
    picks = [int((gradients**2).sum(1).argmax())]
    nearest = ((gradients - gradients[picks[0]]) ** 2).sum(1).astype(np.float64)
    while len(picks) < BUDGET:
        picks.append(int(rng.choice(len(nearest), p=nearest / nearest.sum())))
        nearest = np.minimum(nearest, ((gradients - gradients[picks[-1]]) ** 2).sum(1))
    return picks


def hand_seconds(file, run):
    """Seconds a cell of the loop by hand, by query."""
    data = np.load(file)
    labels, truth = (data[f"{split}_labels"].ravel().astype(int) for split in ("train", "test"))
    inputs, test = (np.load(run / "embed/simclr-projector" / f"{split}.npy") for split in ("train", "test"))
    mean, deviation = inputs.mean(0), np.maximum(inputs.std(0), 1e-12)
    inputs, test = (((each - mean) / deviation).astype(np.float32) for each in (inputs, test))
    seconds = {}
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        for query in QUERIES:
            start = time.perf_counter()
            end = by_hand(query, inputs, labels, test, truth, np.random.default_rng(0))[-1]
            seconds[query] = time.perf_counter() - start
            print(f"by hand, {query}: {seconds[query]:.1f} s a cell, {end:.3f} at the end", flush=True)
    return seconds


def main():
    file, threads = sys.argv[1], 2
    cells = SEEDS * len(INITS) * len(QUERIES)
    with tempfile.TemporaryDirectory() as folder:
        seconds, rounds, run = whole_sweep(file, folder, threads)
        print(f"al-run: {seconds:.0f} s", flush=True)
        by_query = hand_seconds(file, run)
    hand = float(np.mean(list(by_query.values())))
    last = rounds[(rounds["round"] == ROUNDS) & (rounds["init"] == "random")].groupby("query")["accuracy"].mean()
    row = {
        **machine(),
        "numpy": version("numpy"),
        "scikit-learn": version("scikit-learn"),
        "threads": threads,
        "cells": cells,
        "failed": int((rounds["status"] != "ok").sum()),
        "seconds": f"{seconds:.0f}",
        "goal_seconds": GOAL_SECONDS,
        "by_hand_seconds_a_cell": f"{hand:.2f}",
        "by_hand_seconds_in_all": f"{hand * cells / threads:.0f}",
        "times": f"{hand * cells / threads / seconds:.1f}",
        **{f"by_hand_{query}": f"{each:.2f}" for query, each in by_query.items()},
        **{f"accuracy_{query}": f"{last[query]:.4f}" for query in QUERIES},
    }
    record("sweep", row)
    show(row)


if __name__ == "__main__":
    main()
