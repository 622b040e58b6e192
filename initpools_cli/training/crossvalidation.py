"""Cross-validation on labeled images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from initpools_cli.core.seeds import generator
from initpools_cli.datasets.splits import class_counts

#: Number of folds.
FOLDS = 5


def assign_folds(labels: np.ndarray, groups: np.ndarray, seed: int, folds: int = FOLDS) -> np.ndarray:
    """Assign images to stratified folds.

    Parameters
    ----------
    labels : (m,) int64, or (m, c) int8
        With several labels per image, each counts by the rarest of its classes.
    groups : (m,) int64
        Images of one group, such as copies of an image, are in the same fold.
    seed : int
    folds : int
        Maximum; at most the number of groups.

    Returns
    -------
    (m,) int64
        Fold of each image, from 0.
    """
    if labels.ndim == 2:
        labels = rarest_labels(labels)
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    count = len(first)
    permutation = generator(seed, "folds").permutation(count)
    # Sort by class and assign to folds in turn: fold sizes differ by one group at most.
    order = permutation[np.argsort(labels[first][permutation], kind="stable")]
    fold = np.empty(count, dtype=np.int64)
    fold[order] = np.arange(count) % min(folds, count)
    return fold[group]


def rarest_labels(labels: np.ndarray) -> np.ndarray:
    """Return the class of each image that the fewest images have, (m,) int64; c for an image without any class."""
    counts = np.where(labels > 0, labels.sum(axis=0, dtype=np.int64), len(labels) + 1)
    rarest: np.ndarray = np.where(labels.any(axis=1), counts.argmin(axis=1), labels.shape[1])
    return rarest


def assign_group_folds(labels: np.ndarray, groups: np.ndarray, seed: int, folds: int = FOLDS) -> np.ndarray:
    """Assign whole groups of different sizes to folds, stratified as far as possible.

    The largest groups are assigned first, each to the fold that has the smallest share of its classes (as in
    scikit-learn's `StratifiedGroupKFold`, which refuses classes with fewer images than folds); of equal ones to the
    smallest.

    Parameters
    ----------
    labels, groups : (m,) int64
    seed : int
    folds : int
        Maximum; at most the number of groups.

    Returns
    -------
    (m,) int64
        Fold of each image, from 0; none is empty.
    """
    _, group = np.unique(groups, return_inverse=True)
    counts = class_counts(labels, group)
    size = counts.sum(axis=1)
    permutation = generator(seed, "group folds").permutation(len(counts))
    fold_counts = np.zeros((min(folds, len(counts)), counts.shape[1]))
    share, fold = 1 / np.maximum(counts.sum(axis=0), 1), np.empty(len(counts), dtype=np.int64)
    for each in permutation[np.argsort(-size[permutation], kind="stable")].tolist():
        common = (fold_counts * share) @ counts[each]
        fold[each] = np.lexsort((fold_counts.sum(axis=1), common))[0]
        fold_counts[fold[each]] += counts[each]
    return fold[group]


def out_of_fold(
    fit: Callable[[np.ndarray, int], Callable[[np.ndarray], np.ndarray]],
    labeled: np.ndarray,
    folds: np.ndarray,
    classes: int,
) -> np.ndarray:
    """Predict every labeled image by the model fitted without its fold: logits or probabilities.

    Parameters
    ----------
    fit : callable
        Takes train rows (k,) and the number of the held-out fold; returns a function that predicts rows: (j, c).
    labeled : (m,) int64
        Train rows.
    folds : (m,) int64
        From `assign_folds`; at least two.
    classes : int
        c.

    Returns
    -------
    (m, c) float64
    """
    outputs = np.full((len(labeled), classes), np.nan)
    for fold in range(int(folds.max()) + 1):
        held_out = folds == fold
        outputs[held_out] = fit(labeled[~held_out], fold)(labeled[held_out])
    return outputs
