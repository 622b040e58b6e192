"""How good predicted probabilities are; a class without test images is left out and counted, never scored 0."""

from __future__ import annotations

import numpy as np


def classification_metrics(probs: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Metrics of probabilities against the truth.

    Parameters
    ----------
    probs : ndarray
        (n, c), rows sum to 1.
    labels : ndarray
        (n,) int64.

    Returns
    -------
    dict
        accuracy, balanced_accuracy (mean recall of the classes present), auc (mean one-vs-rest area of the classes that
        have both sides), nll (nats), ece (15 bins of equal width), absent_classes (classes with no image here).
    """
    predicted = probs.argmax(1)
    present = np.unique(labels)
    recalls = [float((predicted[labels == k] == k).mean()) for k in present]
    areas = [_auc(probs[:, k], labels == k) for k in present if (labels != k).any()]
    chosen = np.clip(probs[np.arange(len(labels)), labels], 1e-12, 1)
    return {
        "accuracy": float((predicted == labels).mean()),
        "balanced_accuracy": float(np.mean(recalls)),
        "auc": float(np.mean(areas)) if areas else float("nan"),
        "nll": float(-np.log(chosen).mean()),
        "ece": calibration_error(probs, labels),
        "absent_classes": probs.shape[1] - len(present),
    }


def _auc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Probability that a positive is scored above a negative, ties counted half (Mann-Whitney)."""
    from scipy.stats import rankdata

    ranks = rankdata(scores)
    hits, misses = int(positive.sum()), int((~positive).sum())
    return float((ranks[positive].sum() - hits * (hits + 1) / 2) / (hits * misses))


def calibration_error(probs: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error: the mean gap of confidence and accuracy over equal bins (Guo et al. 2017)."""
    confidence = probs.max(1)
    correct = probs.argmax(1) == labels
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    counts = np.bincount(which, minlength=bins)
    gaps = np.bincount(which, confidence, bins) - np.bincount(which, correct, bins)
    return float(np.abs(gaps[counts > 0]).sum() / len(labels))
