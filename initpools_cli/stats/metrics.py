"""Classification metrics of predicted probabilities; classes without test images are left out and counted."""

from __future__ import annotations

import numpy as np


def classification_metrics(probs: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Compute metrics of predicted probabilities.

    Parameters
    ----------
    probs : ndarray
        (n, c), rows sum to 1.
    labels : ndarray
        (n,) int64.

    Returns
    -------
    dict
        accuracy, balanced_accuracy (mean recall of the classes present), auc (mean one-vs-rest area of the classes with
        positive and negative images), nll (nats), ece (15 bins of equal width), absent_classes (number of classes
        without images).
    """
    n, classes = probs.shape
    by_class = recalls(probs, labels, classes)
    present = ~np.isnan(by_class)
    areas = one_vs_rest_areas(probs, labels)
    likelihood = np.clip(probs[np.arange(n), labels], 1e-12, 1)
    return {
        "accuracy": float((probs.argmax(1) == labels).mean()),
        "balanced_accuracy": float(by_class[present].mean()),
        "auc": float(np.nanmean(areas)) if not np.isnan(areas).all() else float("nan"),
        # With one class the result is -0.0; adding 0 makes it 0.0.
        "nll": float(-np.log(likelihood).mean()) + 0.0,
        "ece": calibration_error(probs, labels),
        "absent_classes": int(classes - present.sum()),
    }


def recalls(probs: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Compute the recall of each class.

    Parameters
    ----------
    probs : ndarray
        (n, c), rows sum to 1; ties go to the lower class.
    labels : ndarray
        (n,) int64.
    classes : int
        c.

    Returns
    -------
    ndarray
        (c,) float64 in [0, 1]; NaN for classes without images.
    """
    right = labels[probs.argmax(1) == labels]
    counts = np.bincount(labels, minlength=classes)
    hits = np.bincount(right, minlength=classes)
    return np.divide(hits, counts, out=np.full(classes, np.nan), where=counts > 0)


def one_vs_rest_areas(probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Compute the one-vs-rest area under the ROC curve of each class.

    Parameters
    ----------
    probs : ndarray
        (n, c).
    labels : ndarray
        (n,) int64.

    Returns
    -------
    ndarray
        (c,) float64, ties counted half (Mann-Whitney); NaN for classes without positive or negative images.
    """
    return np.array([one_vs_rest_area(probs[:, k], labels == k) for k in range(probs.shape[1])])


def one_vs_rest_area(scores: np.ndarray, is_positive: np.ndarray) -> float:
    """Compute the area under the ROC curve of scores (n,) for positive images (n,) bool; see `one_vs_rest_areas`."""
    positive = np.sort(scores[is_positive])
    n, hits = len(scores), len(positive)
    if not 0 < hits < n:
        return float("nan")
    everything = np.sort(scores)
    # Twice the mean rank of ties is an integer, so the sum is exact.
    below = everything.searchsorted(positive, "left").sum()
    at_most = everything.searchsorted(positive, "right").sum()
    return float(((below + at_most) / 2 - hits * hits / 2) / (hits * (n - hits)))


def calibration_error(probs: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """Compute the expected calibration error over bins of equal width (Guo et al. 2017)."""
    confidence = probs.max(1)
    correct = probs.argmax(1) == labels
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    counts = np.bincount(which, minlength=bins)
    gaps = np.bincount(which, confidence, bins) - np.bincount(which, correct, bins)
    return float(np.abs(gaps[counts > 0]).sum() / len(labels))
