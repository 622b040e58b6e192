"""Agreement of annotators: Krippendorff's alpha for classes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Agreement(NamedTuple):
    """Krippendorff's alpha with its interval; NaN where undefined."""

    alpha: float
    low: float
    high: float


def nominal_alpha(
    counts: NDArray[np.int64], rng: np.random.Generator, *, level: float = 0.95, samples: int = 1000
) -> Agreement:
    """Compute Krippendorff's alpha of nominal labels, with a percentile bootstrap interval over images.

    1 is perfect agreement, and 0 is what labels drawn at random from all labels would agree. Images with fewer than two
    labels do not count. Alpha is undefined if all labels are of one class (Krippendorff 2011, "Computing
    Krippendorff's Alpha-Reliability"; the interval resamples images, not pairs of labels).

    Parameters
    ----------
    counts : (n, c) int64
        How many annotators gave each image each class.
    rng : numpy.random.Generator
        Draws the bootstrap samples.
    level : float
        Confidence level, between 0 and 1.
    samples : int
        Number of bootstrap samples. Those in which alpha is undefined are left out.

    Returns
    -------
    Agreement
    """
    counts = counts[counts.sum(axis=1) >= 2].astype(np.float64)
    if not len(counts):
        return Agreement(np.nan, np.nan, np.nan)
    labels = counts.sum(axis=1)
    disagreement = (labels**2 - (counts**2).sum(axis=1)) / (labels - 1)
    terms = np.column_stack([disagreement, counts])
    alpha = float(_alpha(terms.sum(axis=0)[None])[0])
    weights = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=samples)
    alphas = _alpha(weights @ terms)
    alphas = alphas[~np.isnan(alphas)]
    if np.isnan(alpha) or not len(alphas):
        return Agreement(alpha, np.nan, np.nan)
    low, high = np.quantile(alphas, [(1 - level) / 2, (1 + level) / 2])
    return Agreement(alpha, float(low), float(high))


def _alpha(terms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute alpha (s,) from sums over images (s, 1 + c): observed disagreement, and the number of each class."""
    observed, classes = terms[:, 0], terms[:, 1:]
    total = classes.sum(axis=1)
    expected = total**2 - (classes**2).sum(axis=1)
    share = np.divide(observed * (total - 1), expected, out=np.full(len(terms), np.nan), where=expected > 0)
    return np.asarray(1 - share)
