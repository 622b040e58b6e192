"""Claim: the 95 % interval of the loop's accuracy holds the accuracy on the images without a label in 94–97 % of loops.

Simulated labeling loops with the learner `linear` on the embeddings of finished runs (RUN: efficientnet-lite0, else the
newest; RUN/embed/NAME: these). A random half of the images are candidates; 20 of them are labeled, then 40, 60, 100.
Pools are random, or chosen as in the loop: `typiclust` first, then batches of 20 by `margin`. The truth is the
accuracy, on all images without a label, of the model trained on all labels. Of a data set with more than 2,000 train
images, 2,000 drawn at random are all that exist. The claim is for random pools; for chosen ones nothing is claimed.

- `wilson`: Wilson's interval of the predictions of stratified 5-fold cross-validation, pooled.
- `wilson-60`: the same as if 60 % as many images were labeled (`stats.proportions.cross_validated_interval`). The share
  was chosen from some 200 loops with random pools of CIFAR-10 and sign-digits; MNIST had no part in it.
- `wilson-random`: as `wilson`, with folds that are not stratified.
- `nested`: Bates, Hastie & Tibshirani's, 10 repetitions of 5 folds, with their correction of the bias.
- `nested-wilson`: Wilson's interval around the nested estimate, with as many images as its standard error stands for.

Width is relative to the binomial interval (Wilson's of a test set of as many images at the true accuracy). Calibration
is measured on the images without a label, before (prior 0) and after temperature scaling of the logits of
cross-validation, for several standard deviations of the prior of log T.

    python benchmarks/confidence.py FOLDER POOL LOOPS NESTED RUN …    (POOL: random or chosen; FOLDER keeps the loops;
                                                                       the same command goes on where it ended)

At the end, or with Ctrl-C, rewrites benchmarks/results/confidence.csv and confidence-calibration.csv from FOLDER.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from fast_linear import SubsetFits, cross_validated, nested_errors
from record import RESULTS

from initpools_cli.core.cpu import machine
from initpools_cli.core.seeds import derive, generator
from initpools_cli.geometry.standardize import scaling
from initpools_cli.stats.metrics import calibration_error
from initpools_cli.stats.nested_cv import NestedInterval, nested_interval
from initpools_cli.stats.proportions import EFFECTIVE, wilson_interval
from initpools_cli.stats.temperature import fit_temperature
from initpools_cli.strategies.margin import margins
from initpools_cli.strategies.select import choose
from initpools_cli.training.crossvalidation import assign_folds
from initpools_cli.training.learners.registry import softmax

LABELS, BATCH = (20, 40, 60, 100), 20
IMAGES = 2_000
REPETITIONS = 10
#: Loops of which calibration is measured.
CALIBRATED = 60
PRIORS = (0.0, 0.125, 0.25, 0.5, 1.0, 2.0, np.inf)
METHODS = ("wilson", "wilson-60", "wilson-random", "nested", "nested-wilson")
CALIBRATION = ("t", "nll", "brier", "ece", "confidence")
#: Loops between two writes.
BLOCK = 25


class Images:
    """Embeddings of a run as its learners read them, and labels."""

    def __init__(self, path):
        """Read a run, or a folder of embeddings in one."""
        folder = path if path.parent.name == "embed" else path / "embed" / "efficientnet-lite0"
        if not folder.exists():
            steps = sorted((path / "embed").glob("*/step.toml"), key=lambda file: file.stat().st_mtime)
            folder = steps[-1].parent
        run = folder.parent.parent
        self.name, self.encoder = run.name, folder.name
        items = pd.read_csv(run / "data" / "items.csv", dtype={"label": str}, keep_default_na=False)
        labels = items.loc[items["split"] == "train", "label"].to_numpy()
        candidates = np.flatnonzero(np.load(run / "data" / "kept.npy"))
        embeddings = np.load(folder / "train.npy", mmap_mode="r")
        apply = scaling(np.asarray(embeddings[candidates]), "each")
        rows = candidates[np.sort(generator(0, "confidence").permutation(len(candidates))[:IMAGES])]
        self.raw = np.asarray(embeddings[rows], dtype=np.float32)
        self.inputs = apply(self.raw)
        self.labels = np.unique(labels[rows], return_inverse=True)[1].astype(np.int64)
        self.classes = int(self.labels.max()) + 1

    def logits(self, head):
        """Logits of all images; several heads side by side are several times as wide."""
        return (self.inputs @ head[:-1].astype(np.float32)).astype(np.float64) + head[-1]


def pool(images, kind, seed):
    """The images that one loop labels, in order."""
    half = generator(seed, "half").permutation(len(images.labels))[: len(images.labels) // 2]
    if kind == "random":
        return half[: LABELS[-1]]
    half = np.sort(half)
    picks = choose("typiclust", {"embeddings": images.raw[half]}, BATCH, seed=seed).indices
    while len(picks) < LABELS[-1]:
        rows = half[picks]
        fits = SubsetFits(images.inputs[rows], images.labels[rows], images.classes)
        head = fits.heads(fits.solve(np.ones((1, len(rows)), bool)))[0]
        gaps = margins(softmax(images.inputs[half] @ head[:-1].astype(np.float32) + head[-1]))
        gaps[picks] = np.inf
        picks = np.concatenate([picks, np.argsort(gaps, kind="stable")[:BATCH]])
    return half[picks]


def quality(logits, labels, temperature):
    """Values of `CALIBRATION`: temperature, log-likelihood, Brier score, calibration error, mean confidence."""
    probs = softmax(logits / temperature)
    likelihood = probs[np.arange(len(labels)), labels]
    loss, brier = -np.log(np.maximum(likelihood, 1e-12)).mean(), ((probs**2).sum(1) - 2 * likelihood + 1).mean()
    values = (temperature, loss, brier, calibration_error(probs, labels), probs.max(1).mean())
    return dict(zip(CALIBRATION, values, strict=True))


def simulate(images, kind, loop, nested):
    """One loop: a line for each number of labels."""
    seed = derive(loop, "confidence")
    order = pool(images, kind, seed)
    lines, heads = [], []
    for count in LABELS:
        rows = order[:count]
        labels = images.labels[rows]
        fits = SubsetFits(images.inputs[rows], labels, images.classes)
        full = fits.solve(np.ones((1, count), bool))[0]
        # Stratified as in the loop, then as in the paper: at random.
        folds = assign_folds(labels, np.arange(count), derive(seed, "stratified"))[None]
        logits, _ = cross_validated(fits, full, folds)
        line = {
            "loop": loop,
            "labels": count,
            "majority": np.bincount(labels).max() / count,
            "right": int((logits[0].argmax(1) == labels).sum()),
            "right_random": np.nan,
            "right_repeated": np.nan,
            **dict.fromkeys(NestedInterval._fields, np.nan),
        }
        if nested:
            parts = [assign_folds(0 * labels, np.arange(count), derive(seed, part)) for part in range(REPETITIONS)]
            folds = np.array(parts)
            others, models = cross_validated(fits, full, folds)
            line["right_random"] = int((others[0].argmax(1) == labels).sum())
            line["right_repeated"] = (others.argmax(2) == labels).sum(1).mean()
            line |= nested_interval(nested_errors(fits, labels, full, models, folds), folds)._asdict()
        lines.append((line, logits[0]))
        heads.append(fits.heads(full[None])[0])
    wide = images.logits(np.concatenate(heads, axis=1)).reshape(len(images.labels), len(LABELS), -1)
    for place, (line, logits) in enumerate(lines):
        rest = np.delete(np.arange(len(images.labels)), order[: line["labels"]])
        rest_logits, truth = wide[rest, place], images.labels[rest]
        line["truth"] = (rest_logits.argmax(1) == truth).mean()
        label_codes = images.labels[order[: line["labels"]]]
        for prior in PRIORS:
            line |= {f"{name}-{prior:g}": np.nan for name in CALIBRATION}
            if line["loop"] < CALIBRATED:
                t = fit_temperature(logits, label_codes, prior) if prior else 1.0
                line |= {f"{name}-{prior:g}": value for name, value in quality(rest_logits, truth, t).items()}
        yield line


def estimate(method, line):
    """Accuracy that a method's interval is around."""
    if method in ("nested", "nested-wilson"):
        return 1 - line["error"]
    return line["right_random" if method == "wilson-random" else "right"] / line["labels"]


def interval_of(method, line):
    """Low and high end of an interval, in [0, 1]."""
    if method == "nested":
        return max(0.0, 1 - line["high"]), min(1.0, 1 - line["low"])
    images = line["labels"]
    if method == "nested-wilson":
        images /= line["inflation"] ** 2
    elif method == "wilson-60":
        images *= EFFECTIVE
    return wilson_interval(np.clip(estimate(method, line), 0, 1), images)


def coverage(lines):
    """A row for each number of labels and method."""
    for count, group in lines.groupby("labels"):
        records = group.to_dict("records")
        for method in METHODS:
            estimates = [each for each in records if np.isfinite(estimate(method, each))]
            if not estimates:
                continue
            truth = np.array([each["truth"] for each in estimates])
            low, high = np.array([interval_of(method, each) for each in estimates]).T
            inside = (low <= truth) & (truth <= high)
            usual = np.array([np.diff(wilson_interval(each, count))[0] for each in truth])
            yield {
                "labels": count,
                "method": method,
                "loops": len(estimates),
                "truth": f"{truth.mean():.4f}",
                "estimate": f"{np.mean([estimate(method, each) for each in estimates]):.4f}",
                "coverage": f"{inside.mean():.4f}",
                "coverage_error": f"{np.sqrt(inside.mean() * (1 - inside.mean()) / len(estimates)):.4f}",
                "truth_above": f"{(truth > high).mean():.4f}",
                "truth_below": f"{(truth < low).mean():.4f}",
                "width": f"{(high - low).mean():.4f}",
                "width_over_binomial": f"{((high - low).mean() / usual.mean()):.3f}",
            }


def calibration(lines):
    """A row for each number of labels and prior."""
    for count, group in lines[lines["loop"] < CALIBRATED].groupby("labels"):
        for prior in PRIORS:
            yield {
                "labels": count,
                "prior": f"{prior:g}",
                "loops": len(group),
                "accuracy": f"{group['truth'].mean():.4f}",
                **{name: f"{group[f'{name}-{prior:g}'].mean():.4f}" for name in ("confidence", "nll", "brier", "ece")},
                "temperature": f"{np.exp(np.log(group[f't-{prior:g}']).mean()):.3f}",
            }


def summarize(folder):
    for name, of in (("confidence", coverage), ("confidence-calibration", calibration)):
        rows = []
        for file in sorted(folder.glob("*.csv")):
            data, encoder, kind = file.stem.split("+")
            same = {**machine(), "numpy": np.__version__, "data": data, "encoder": encoder, "pool": kind}
            rows += [same | row for row in of(pd.read_csv(file))]
        pd.DataFrame(rows).to_csv(RESULTS / f"{name}.csv", index=False, lineterminator="\n")


def work(folder, kind, images, loops, nested):
    """Add at most a block of loops to a file; say whether some are left."""
    file = folder / f"{images.name}+{images.encoder}+{kind}.csv"
    loops_done = len(pd.read_csv(file)) // len(LABELS) if file.exists() else 0
    lines = [
        line
        for loop in range(loops_done, min(loops_done + BLOCK, loops))
        for line in simulate(images, kind, loop, loop < nested)
    ]
    if lines:
        with file.open("a", newline="") as stream:
            writer = csv.DictWriter(stream, lines[0], lineterminator="\n")
            if not loops_done:
                writer.writeheader()
            writer.writerows(lines)
    return loops_done + BLOCK < loops


def main():
    folder, kind, loops, nested = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    folder.mkdir(parents=True, exist_ok=True)
    open_images = [Images(Path(run)) for run in sys.argv[5:]]
    try:
        while open_images:
            open_images = [each for each in open_images if work(folder, kind, each, loops, nested)]
    finally:
        summarize(folder)


if __name__ == "__main__":
    main()
