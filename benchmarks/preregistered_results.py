"""Collect the results of the preregistered studies into results/preregistered*.

Claim:    none; docs/findings.md says what was found.
Command:  python benchmarks/preregistered_results.py DATA RUNS

`preregistered.parquet` has a row for each cell and round of every sweep that is finished. `preregistered-losses.csv`
has the correlations of H1.3, `preregistered-windows.csv` the pools of H1.4, `preregistered-windows-correlations.csv`
their correlations, `preregistered-first-later.csv` the correlations of H4.2, and `preregistered-time.csv` the machine
and the time of every step. Rows of sweeps that are not in RUNS are kept: studies may be run on several machines.
"""

from __future__ import annotations

import argparse
import itertools
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import torch
from preregistered import LITE0, SEEDS
from record import RESULTS
from scipy.stats import rankdata, spearmanr

from initpools_cli.core.cpu import machine
from initpools_cli.core.rundir import Run
from initpools_cli.core.seeds import generator
from initpools_cli.geometry.standardize import scaling
from initpools_cli.stats.long_tail import labels_until_seen
from initpools_cli.stats.paired import holm
from initpools_cli.steps.run_data import read_items
from initpools_cli.sweeps.results import rounds_of
from initpools_cli.training.learners.linear import linear
from initpools_cli.training.learners.registry import learners

#: H1.4: pools, images of a pool, share of the ranking that a pool is drawn from.
WINDOWS, SIZE, SHARE = 400, 200, 0.1
#: Bootstrap draws.
DRAWS = 10_000
CELL = ["init", "query", "learner", "encoder", "seed"]
START = [column for column in CELL if column != "query"]
METRICS = ["accuracy", "balanced_accuracy", "auc", "absent_classes"]


def class_facts(step, labels, classes):
    """Tabulate for each cell the entropy of its first pool's classes and the labels until every class is seen."""
    size, rows = step.table["init_budget"], []
    with np.load(step.folder / "picks.npz") as picks:
        for key in picks.files:
            label_codes = labels[picks[key]]
            counts = np.bincount(label_codes[:size], minlength=classes)
            share = counts[counts > 0] / counts.sum()
            entropy = float(-(share * np.log(share)).sum() / np.log(classes))
            init, query, learner, encoder, seed = key.split("|")
            rows.append(
                (init, query, learner, encoder, int(seed), entropy, labels_until_seen(label_codes, np.arange(classes)))
            )
    return pd.DataFrame(rows, columns=[*CELL, "class_entropy", "labels_until_seen"])


def cells(run):
    """Tabulate the rounds of all finished sweeps of a run."""
    items = read_items(run)
    labels = items.loc[items["split"] == "train", "label"].to_numpy(np.int64)
    classes, parts = int(labels.max()) + 1, []
    for step in run.steps("al"):
        rounds = rounds_of(step)
        facts = class_facts(step, labels, classes)
        # Rows of the first round have no query: its pool is the same for all of them.
        start = facts.drop_duplicates(START)[[*START, "class_entropy"]]
        rounds = rounds.merge(start, on=START, how="left")
        rounds = rounds.merge(facts.drop(columns="class_entropy"), on=CELL, how="left")
        columns = [*CELL, "round", "labeled", *METRICS, *rounds.columns.intersection(["rare_recall"]), "status"]
        parts.append(
            rounds[[*columns, "class_entropy", "labels_until_seen"]].assign(run=run.path.name, sweep=step.name)
        )
    return parts


def losses(run):
    """Return the reconstruction losses of the train images of a run, (n,)."""
    (step,) = run.steps("score")
    return step.array("scores.npy")


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
    defaults = learners.get("linear").validate({})
    width, classes, rows = int(SHARE * len(ranking)), int(labels["train"].max()) + 1, []
    for number in range(WINDOWS):
        start = int(rng.integers(len(ranking) - width + 1))
        pool = rng.choice(ranking[start : start + width], SIZE, replace=False)
        # The weights of a penalized fit are combinations of the pool's rows, so their span will do.
        basis, corner = np.linalg.qr(train[pool].T)
        model = linear(corner.T, labels["train"][pool], classes, 0, "cpu", **defaults)
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


def partial_spearman(table, controls):
    """Return Spearman's partial correlation of accuracy and loss, given other columns."""
    inverse = np.linalg.inv(np.corrcoef(rankdata(table[["accuracy", "loss", *controls]], axis=0), rowvar=False))
    return -inverse[0, 1] / np.sqrt(inverse[0, 0] * inverse[1, 1])


def window_correlations(table):
    """Tabulate the correlations of accuracy and loss over the pools of H1.4, with bootstrap intervals over pools."""
    rng, both = generator(0, "bootstrap of windows"), ["jpeg_bytes", "contrast"]
    kinds = {"plain": [], "given file size": both[:1], "given contrast": both[1:], "given both": both}
    samples = [table, *(table.iloc[rng.integers(len(table), size=len(table))] for _ in range(DRAWS))]
    estimates = np.array([[partial_spearman(sample, controls) for controls in kinds.values()] for sample in samples])
    estimates = np.column_stack([estimates, np.abs(estimates[:, 0]) - np.abs(estimates[:, 3])])
    names = [*kinds, "size of the plain one minus size of the one given both"]
    low, high = np.percentile(estimates[1:], (2.5, 97.5), axis=0)
    return pd.DataFrame({"what": names, "value": estimates[0], "low": low, "high": high})


def first_and_later(table):
    """Tabulate Spearman's correlation over pools of the mean accuracies at 20 and at 120 labels.

    p is the share of all orders of the pools with at least this correlation.
    """
    rows = []
    for data in ("pathmnist", "pneumonia"):
        for learner in ("finetune", "scratch"):
            own = table[table["run"].str.startswith(data) & (table["sweep"] == learner) & (table["status"] == "ok")]
            means = own.pivot_table(index="init", columns="labeled", values="accuracy")
            if len(means) < 10 or own["run"].nunique() < len(SEEDS) or not {20, 120} <= {*means.columns}:
                continue
            ranks = rankdata(means[[20, 120]], axis=0) - (len(means) + 1) / 2
            length = np.sqrt((ranks**2).sum(axis=0)).prod()
            spearman = (ranks[:, 0] @ ranks[:, 1]) / length
            orders = itertools.permutations(ranks[:, 1].tolist())
            hits, count = 0, 0
            while chunk := list(itertools.islice(orders, 400_000)):
                hits += int((np.array(chunk) @ ranks[:, 0] / length >= spearman - 1e-9).sum())
                count += len(chunk)
            rows.append(
                {"data": data, "learner": learner, "pools": len(means), "spearman": spearman, "p": hits / count}
            )
    results = pd.DataFrame(rows, columns=["data", "learner", "pools", "spearman", "p"])
    # The family has four members, run or not.
    return results.assign(corrected=holm(results["p"].to_numpy(float), 4))


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
    for step in run.steps():
        start, end = (datetime.fromisoformat(step.facts[key]) for key in ("started", "finished"))
        yield {
            "run": run.path.name,
            "step": step.id,
            "seconds": (end - start).total_seconds(),
            "threads": step.facts.get("threads"),
            "torch": step.facts.get("torch"),
            **machine(),
        }


def with_earlier(table, earlier, keys):
    """Add the rows of an earlier table whose keys the new one has not: studies may be run on several machines."""
    if earlier is None:
        return table
    new_keys = pd.MultiIndex.from_frame(table[keys])
    return pd.concat([earlier[~pd.MultiIndex.from_frame(earlier[keys]).isin(new_keys)], table], ignore_index=True)


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
    file = RESULTS / "preregistered.parquet"
    table = with_earlier(table, pd.read_parquet(file) if file.exists() else None, ["run", "sweep"])
    table.to_parquet(file, index=False, compression="zstd")
    print(f"preregistered: {len(table)} rows")
    if (args.runs / "cifar10-vae0").exists():
        size, contrast = sizes_and_contrast(args.data)
        write("preregistered-losses", correlations(args.runs, size, contrast))
        pools = windows(Run(args.runs / "cifar10-vae0"), size, contrast)
        write("preregistered-windows", pools)
        write("preregistered-windows-correlations", window_correlations(pools))
    write("preregistered-first-later", first_and_later(table))
    file = RESULTS / "preregistered-time.csv"
    time = pd.DataFrame([row for run in runs for row in times(run)])
    write("preregistered-time", with_earlier(time, pd.read_csv(file) if file.exists() else None, ["run", "step"]))


if __name__ == "__main__":
    main()
