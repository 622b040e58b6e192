"""Seeded, stratified test splits."""

from __future__ import annotations

import numpy as np

from initpools_cli.core.seeds import generator


def held_out(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Draw a test split: a seeded share of the images, stratified by class.

    The share of each class is rounded down or up so that the total is as close as possible (largest remainders), and no
    class gives its last image.

    Parameters
    ----------
    labels : ndarray of shape (n,), int64
        Class numbers from 0.
    share : float
        In (0, 1).
    seed : int
        The root seed.

    Returns
    -------
    ndarray of shape (n,), bool
        True for test.
    """
    if not len(labels):
        return np.zeros(0, dtype=bool)
    counts = np.bincount(labels)
    spare = np.maximum(counts - 1, 0)
    quota = np.minimum(np.floor(share * counts).astype(np.int64), spare)
    missing = max(round(share * len(labels)), 1) - quota.sum()
    remainders = share * counts - quota
    for c in np.argsort(-remainders, kind="stable"):
        if missing > 0 and quota[c] < spare[c]:
            quota[c] += 1
            missing -= 1
    shuffled = generator(seed, "test-split").permutation(len(labels))
    test = np.zeros(len(labels), dtype=bool)
    for c, count in enumerate(quota):
        test[shuffled[labels[shuffled] == c][:count]] = True
    return test
