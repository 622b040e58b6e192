"""Confidence intervals of a mean over seeds."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

# Below this share of their size, differences between values are rounding, not variation.
ROUNDING = 1e-12


class MeanInterval(NamedTuple):
    """A mean and the ends of its confidence interval, in the values' unit; NaN where there is none."""

    mean: float
    low: float
    high: float


def mean_interval(values: ArrayLike, level: float = 0.95) -> MeanInterval:
    """Student's t-interval of the mean of independent values.

    Fewer than two values, or values that do not vary, say nothing about how sure the mean is: they get no interval.

    Parameters
    ----------
    values : array_like of float, shape (n,)
        One value per seed; NaN is missing and left out.
    level : float
        Coverage, between 0 and 1.

    Returns
    -------
    MeanInterval
        ``(mean, low, high)``; low and high NaN where there is no interval, all three NaN where there is no value.

    Raises
    ------
    ValueError
        `level` is not between 0 and 1.
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
