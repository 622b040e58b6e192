"""Claims: the doubtful labels of `initpools label --review` are at least as often wrong as those of cleanlab.

LABELS train images drawn at random from a finished run get wrong labels: 5 % or 10 % of them, drawn at random. Noise is
`uniform` (any other class) or `similar` (the class with the nearest mean embedding). Precision is the share of wrong
labels among the first k: as many as are wrong, 10 and 20. With fewer wrong labels than k, 1 can't be reached.

- `initpools`: the likelihood ratio of the likeliest other class and the label (`stats.label_doubt`), by the learner
  `linear` on standardized embeddings in 5 repetitions of 5-fold cross-validation, calibrated.
- `cleanlab`: `find_label_issues`, ranked by self-confidence, by the usual classifier of its `CleanLearning`
  (scikit-learn's LogisticRegression with its defaults in 5 folds) on the embeddings themselves, which was better than
  on standardized ones. If it finds fewer than k, the images with the lowest label quality scores follow.

Means over SEEDS, beginning with the seed FIRST. `difference` is paired over seeds, with its standard error.

    python benchmarks/review.py FIRST SEEDS RUN …      (RUN/embed/efficientnet-lite0; needs cleanlab and a C compiler)

Adds lines to benchmarks/results/review.csv. The ranking was chosen among 25 with seeds 0 to 11, so FIRST is 100 there.
"""

from __future__ import annotations

import sys
import warnings
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from fast_linear import SubsetFits, cross_validated
from record import record
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from initpools_cli.core.cpu import machine
from initpools_cli.core.seeds import generator
from initpools_cli.geometry.standardize import scaling
from initpools_cli.stats.label_doubt import label_doubt
from initpools_cli.stats.temperature import fit_temperature
from initpools_cli.training.crossvalidation import assign_folds
from initpools_cli.training.learners.registry import softmax

LABELS, SHARES, NOISES = (100, 300, 1000), (0.05, 0.1), ("uniform", "similar")
REPETITIONS = 5


def read(run):
    """Embeddings as they are, embeddings as learners read them, and labels."""
    items = pd.read_csv(run / "data" / "items.csv", dtype={"label": str}, keep_default_na=False)
    labels = items.loc[items["split"] == "train", "label"].to_numpy()
    raw = np.load(run / "embed" / "efficientnet-lite0" / "train.npy")
    return raw, scaling(raw, "each")(raw), np.unique(labels, return_inverse=True)[1].astype(np.int64)


def nearest_class(inputs, labels):
    """The class with the nearest mean, of each class."""
    means = np.stack([inputs[labels == each].mean(0) for each in range(labels.max() + 1)])
    gaps = ((means[:, None] - means[None]) ** 2).sum(-1)
    np.fill_diagonal(gaps, np.inf)
    return gaps.argmin(1)


def noisy(truth, share, noise, similar, rng):
    """Labels, and which of them are wrong."""
    wrong = np.zeros(len(truth), bool)
    wrong[rng.permutation(len(truth))[: round(share * len(truth))]] = True
    others = (truth + rng.integers(1, len(similar), len(truth))) % len(similar)
    return np.where(wrong, similar[truth] if noise == "similar" else others, truth), wrong


def by_initpools(inputs, labels, classes, seed):
    """Images, most doubtful first."""
    count = len(labels)
    folds = np.stack([assign_folds(labels, np.arange(count), 1000 * seed + each) for each in range(REPETITIONS)])
    fits = SubsetFits(inputs, labels, classes)
    logits, _ = cross_validated(fits, fits.solve(np.ones((1, count), bool))[0], folds)
    probs = np.mean([softmax(each / fit_temperature(each, labels)) for each in logits], axis=0)
    return np.argsort(-label_doubt(probs, labels), kind="stable")


def by_cleanlab(raw, labels, seed):
    """Images, those that it finds first."""
    points = raw.astype(np.float64)
    if len(points) < points.shape[1]:
        # The same images in fewer dimensions: the penalty and the products are the same.
        points = np.linalg.qr((points - points.mean(0)).T)[1].T
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    _, codes = np.unique(labels, return_inverse=True)
    probs = cross_val_predict(LogisticRegression(), points, codes, cv=folds, method="predict_proba")
    issues = find_label_issues(codes, probs, return_indices_ranked_by="self_confidence")
    ranking = np.argsort(get_label_quality_scores(codes, probs), kind="stable")
    return np.concatenate([issues, ranking[~np.isin(ranking, issues)]]).astype(np.int64)


def precisions(data, labels, share, noise, seed):
    """Precision by tool and k."""
    raw, inputs, truth = data
    rng = generator(seed, "review", noise)
    rows = rng.permutation(len(truth))[:labels]
    noisy_labels, wrong = noisy(truth[rows], share, noise, nearest_class(inputs, truth), rng)
    orders = {
        "initpools": by_initpools(inputs[rows], noisy_labels, int(truth.max()) + 1, seed),
        "cleanlab": by_cleanlab(raw[rows], noisy_labels, seed),
    }
    sizes = {"wrong": int(wrong.sum()), "10": 10, "20": 20}
    return {tool: {name: wrong[order[:k]].mean() for name, k in sizes.items()} for tool, order in orders.items()}


def main(first, seeds, *runs):
    """Measure and record every cell."""
    warnings.filterwarnings("ignore")
    facts = {"date": date.today().isoformat(), "machine": machine()}
    facts |= {f"{name}_version": version(name) for name in ("numpy", "scikit-learn", "cleanlab")}
    for run in map(Path, runs):
        data = read(run)
        for labels in LABELS:
            for share in SHARES:
                for noise in NOISES:
                    each = [precisions(data, labels, share, noise, int(first) + number) for number in range(int(seeds))]
                    for k in each[0]["initpools"]:
                        own, other = (
                            np.array([result[tool][k] for result in each]) for tool in ("initpools", "cleanlab")
                        )
                        gap = own - other
                        row = {"data": run.name, "labels": labels, "noise": noise, "share": share, "k": k}
                        row |= {
                            "first": int(first),
                            "seeds": len(each),
                            "initpools": f"{own.mean():.3f}",
                            "cleanlab": f"{other.mean():.3f}",
                        }
                        row |= {"difference": f"{gap.mean():.3f}", "error": f"{gap.std(ddof=1) / len(gap) ** 0.5:.3f}"}
                        record("review", row | facts)
                    print(run.name, labels, share, noise, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
