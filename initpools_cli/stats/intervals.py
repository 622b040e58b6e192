"""Confidence intervals of a mean over seeds."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from initpools_cli.core.seeds import generator

# Relative differences below this are rounding, not variation.
ROUNDING = 1e-12
#: Fewest values for a bootstrap-t interval: with fewer, samples repeat a few values, and some intervals are several
#: times too wide.
LEAST = 12
#: Number of resamples of a bootstrap-t interval.
RESAMPLES = 9999


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
    x = np.asarray(values, dtype=np.float64).ravel()
    x = x[~np.isnan(x)]
    if x.size == 0:
        return MeanInterval(math.nan, math.nan, math.nan)
    mean = float(x.mean())
    if x.size < 2 or np.ptp(x) <= ROUNDING * np.abs(x).max():
        return MeanInterval(mean, math.nan, math.nan)
    half = float(t.ppf((1 + level) / 2, x.size - 1) * x.std(ddof=1) / math.sqrt(x.size))
    return MeanInterval(mean, mean - half, mean + half)


def bootstrap_t_intervals(values: ArrayLike, level: float = 0.95, least: int = LEAST) -> NDArray[np.float64]:
    """Compute the bootstrap-t interval of the mean of each row of independent values.

    Student's t-interval assumes that the t statistic is symmetric. Here its quantiles are those of `RESAMPLES` samples
    drawn with replacement, so one side of the interval may be longer than the other. All rows share the same draws,
    which do not depend on the values.

    Parameters
    ----------
    values : array_like of float, shape (m, n)
        One value per seed; no NaN.
    level : float
        Confidence level, between 0 and 1.
    least : int
        Fewest values for an interval.

    Returns
    -------
    ndarray of float64, shape (m, 2)
        Both ends of each interval. NaN for fewer than `least` values, for constant values, and for values of which so
        many are equal that samples without variation reach into a tail.

    Raises
    ------
    ValueError
        If `level` is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"level={level} must be between 0 and 1")
    rows = np.asarray(values, dtype=np.float64)
    ends = np.full((len(rows), 2), math.nan)
    if not len(rows) or rows.shape[1] < least:
        return ends
    mean = rows.mean(axis=1, keepdims=True)
    has_variance = np.ptp(rows, axis=1) > ROUNDING * np.abs(rows).max(axis=1)
    centered = (rows - mean)[has_variance]
    error = np.sqrt((centered**2).mean(axis=1) / (rows.shape[1] - 1))
    with np.errstate(invalid="ignore"):
        # Between a number and infinity there is no quantile.
        tails = np.quantile(_resampled_t(centered), ((1 + level) / 2, (1 - level) / 2), axis=0).T
    ends[has_variance] = mean[has_variance] - tails * error[:, None]
    ends[~np.isfinite(ends).all(axis=1)] = math.nan
    return ends


def _resampled_t(centered: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the t statistic of each sample drawn with replacement from each row, (RESAMPLES, m); the means are 0."""
    n = centered.shape[1]
    draws = generator(0, "bootstrap-t").integers(0, n, (RESAMPLES, n))
    # With the number of times that each value is drawn, moments are products of matrices.
    counts = np.bincount((draws + n * np.arange(RESAMPLES)[:, None]).ravel(), minlength=RESAMPLES * n)
    weights = counts.reshape(RESAMPLES, n) / n
    mean = weights @ centered.T
    variance = weights @ (centered**2).T - mean**2
    flat = variance <= ROUNDING * (centered**2).mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = mean / np.sqrt(np.where(flat, 0, variance) / (n - 1))
    return np.nan_to_num(t, nan=0.0, posinf=np.inf, neginf=-np.inf)
