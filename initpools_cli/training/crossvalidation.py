"""Cross-validation of what is labeled: every image is judged by a model that has not seen it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from initpools_cli.core.seeds import generator

#: Parts that are held out in turn.
FOLDS = 5


def folds_of(labels: np.ndarray, groups: np.ndarray, seed: int, folds: int = FOLDS) -> np.ndarray:
    """Which part each image is held out with: every class is spread over the parts as evenly as can be.

    Parameters
    ----------
    labels : (m,) int64
    groups : (m,) int64
        Images of one group stay together: copies of an image would give each other away.
    seed : int
    folds : int
        At most so many parts; as many as there are groups where those are fewer.

    Returns
    -------
    (m,) int64
        From 0.
    """
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    count = len(first)
    shuffled = generator(seed, "folds").permutation(count)
    # Dealt out class by class without a break, the parts differ by one group at most.
    order = shuffled[np.argsort(labels[first][shuffled], kind="stable")]
    part = np.empty(count, dtype=np.int64)
    part[order] = np.arange(count) % min(folds, count)
    return part[group]


def out_of_fold(
    fit: Callable[[np.ndarray, int], Callable[[np.ndarray], np.ndarray]],
    labeled: np.ndarray,
    parts: np.ndarray,
    classes: int,
) -> np.ndarray:
    """Probabilities of every labeled image by the model that was fitted without its part.

    Parameters
    ----------
    fit : callable
        Of train rows (k,) and the number of the part that is held out; gives what predicts rows: (j, c).
    labeled : (m,) int64
        Train rows.
    parts : (m,) int64
        From `folds_of`; at least two.
    classes : int
        c.

    Returns
    -------
    (m, c) float64
    """
    probs = np.full((len(labeled), classes), np.nan)
    for part in range(int(parts.max()) + 1):
        held_out = parts == part
        probs[held_out] = fit(labeled[~held_out], part)(labeled[held_out])
    return probs
