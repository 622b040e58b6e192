"""Confidence interval of a proportion."""

from __future__ import annotations


def share_interval(right: int, count: int, level: float = 0.95) -> tuple[float, float]:
    """Compute Wilson's score interval of a proportion (1927), accurate for few images and near 0 and 1.

    Parameters
    ----------
    right, count : int
        Number of successes, and of trials.
    level : float
        Confidence level, between 0 and 1.

    Returns
    -------
    low, high : float
        In [0, 1]; 0 and 1 if `count` is 0.
    """
    from scipy.stats import binomtest

    if not count:
        return 0.0, 1.0
    interval = binomtest(right, count).proportion_ci(level, "wilson")
    return float(interval.low), float(interval.high)
