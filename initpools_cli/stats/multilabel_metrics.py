"""Metrics of predictions with several labels per image; classes without positive test images are left out and counted.

A label is predicted where its probability is at least ½.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.stats.metrics import one_vs_rest_area

Floats = NDArray[np.float64]
Labels = NDArray[np.int8]
THRESHOLD = 0.5


def multilabel_metrics(probs: Floats, labels: Labels) -> dict[str, float]:
    """Compute metrics of the probabilities of labels.

    Parameters
    ----------
    probs : (n, c) float64
        Probability of each label.
    labels : (n, c) int8
        0 and 1.

    Returns
    -------
    dict
        auc (mean area under the ROC curve of the classes with positive and negative images), mean_average_precision,
        micro_f1 (over all labels of all classes), macro_f1 (mean over classes), nll (mean logistic loss over images and
        classes, nats), absent_classes (number of classes without positive images).
    """
    areas, precisions = label_areas(probs, labels), average_precisions(probs, labels)
    hits, predictions, positive = _counts(probs, labels)
    likelihood = np.clip(np.where(labels > 0, probs, 1 - probs), 1e-12, 1)
    total = int(predictions.sum() + positive.sum())
    return {
        "auc": _mean(areas),
        "mean_average_precision": _mean(precisions),
        "micro_f1": float(2 * hits.sum() / total) if total else float("nan"),
        "macro_f1": _mean(f1_scores(probs, labels)),
        "nll": float(-np.log(likelihood).mean()) + 0.0,
        "absent_classes": int((positive == 0).sum()),
    }


def label_recalls(probs: Floats, labels: Labels) -> Floats:
    """Compute the recall of each class, (c,); NaN for classes without positive images."""
    hits, _, positive = _counts(probs, labels)
    return np.divide(hits, positive, out=np.full(len(hits), np.nan), where=positive > 0)


def f1_scores(probs: Floats, labels: Labels) -> Floats:
    """Compute the F1 score of each class, (c,); NaN for classes without positive images."""
    hits, predictions, positive = _counts(probs, labels)
    return np.divide(2 * hits, predictions + positive, out=np.full(len(hits), np.nan), where=positive > 0)


def label_areas(probs: Floats, labels: Labels) -> Floats:
    """Compute the area under the ROC curve of each class, (c,); NaN without positive or negative images."""
    return np.array([one_vs_rest_area(probs[:, k], labels[:, k] > 0) for k in range(probs.shape[1])])


def average_precisions(probs: Floats, labels: Labels) -> Floats:
    """Compute the average precision of each class, (c,): Σ of precision times gain in recall, over thresholds.

    Images of equal probability are one threshold. NaN for classes without positive images.
    """
    return np.array([_average_precision(probs[:, k], labels[:, k] > 0) for k in range(probs.shape[1])])


def _average_precision(scores: Floats, positive: NDArray[np.bool_]) -> float:
    count = int(positive.sum())
    if not count:
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    hits = positive[order].cumsum()[ends]
    return float((np.diff(hits, prepend=0) / count * hits / (ends + 1)).sum())


def _counts(probs: Floats, labels: Labels) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Count true positives, predicted and positive images of each class."""
    predictions, positive = probs >= THRESHOLD, labels > 0
    return (predictions & positive).sum(axis=0), predictions.sum(axis=0), positive.sum(axis=0)


def _mean(values: Floats) -> float:
    """Return the mean over the classes that have a value; NaN if none has."""
    return float(np.nanmean(values)) if not np.isnan(values).all() else float("nan")
