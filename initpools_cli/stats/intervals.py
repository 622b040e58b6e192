"""Confidence interval of a mean over seeds."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

# Relative differences below this are rounding, not variation.
ROUNDING = 1e-12


class MeanInterval(NamedTuple):
    """Mean and confidence interval, in the values' unit; NaN where undefined."""

    mean: float
    low: float
    high: float


def mean_interval(values: ArrayLike, level: float = 0.95) -> MeanInterval:
    """Compute Student's t-interval of the mean of independent values.

    Fewer than two values, or constant values, have no interval.

    Parameters
    ----------
    values : array_like of float, shape (n,)
        One value per seed; NaN is left out.
    level : float
        Confidence level, between 0 and 1.

    Returns
    -------
    MeanInterval
        ``(mean, low, high)``; low and high are NaN without an interval, all three without values.

    Raises
    ------
    ValueError
        If `level` is not between 0 and 1.
    """
    from scipy.stats import t

    if not 0 < level < 1:
        raise ValueError(f"level={level} must be between 0 and 1")
    known = np.asarray(values, dtype=np.float64).ravel()
    known = known[~np.isnan(known)]
    if known.size == 0:
        return MeanInterval(math.nan, math.nan, math.nan)
    mean = float(known.mean())
    if known.size < 2 or np.ptp(known) <= ROUNDING * np.abs(known).max():
        return MeanInterval(mean, math.nan, math.nan)
    half = float(t.ppf((1 + level) / 2, known.size - 1) * known.std(ddof=1) / math.sqrt(known.size))
    return MeanInterval(mean, mean - half, mean + half)
