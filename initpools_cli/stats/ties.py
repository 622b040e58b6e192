"""Ties among scores."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Ties(NamedTuple):
    """Counts of repeated and missing scores.

    Attributes
    ----------
    n : int
        Number of images with a score.
    missing : int
        Number of images without a score (NaN), or with an infinite one: the first pick of a cluster by distance.
    tied : float
        Share of scored images whose value occurs more than once.
    commonest : float
        Share of scored images with the most frequent value.
    spread : float
        (largest - smallest) / largest magnitude; 0 if constant.
    """

    n: int
    missing: int
    tied: float
    commonest: float
    spread: float


def ties(scores: ArrayLike) -> Ties:
    """Count repeated values; shares are NaN if no image has a score.

    Parameters
    ----------
    scores : array_like of float, shape (n,)
    """
    values = np.asarray(scores, dtype=np.float64).ravel()
    finite = values[np.isfinite(values)]
    missing = values.size - finite.size
    if not finite.size:
        return Ties(0, missing, np.nan, np.nan, np.nan)
    counts = np.unique(finite, return_counts=True)[1]
    largest = float(np.abs(finite).max())
    spread = float(np.ptp(finite)) / largest if largest else 0.0
    tied_share = float(counts[counts > 1].sum() / finite.size)
    return Ties(finite.size, missing, tied_share, float(counts.max() / finite.size), spread)
