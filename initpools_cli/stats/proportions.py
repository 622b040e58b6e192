"""Confidence intervals of a share of independent images."""

from __future__ import annotations


def share_interval(right: int, count: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval (1927) of a share: it holds its level for few images and for shares near 0 and 1.

    Parameters
    ----------
    right, count : int
        So many of so many.
    level : float
        Coverage, between 0 and 1.

    Returns
    -------
    low, high : float
        In [0, 1]; all of it where `count` is 0.
    """
    from scipy.stats import binomtest

    if not count:
        return 0.0, 1.0
    found = binomtest(right, count).proportion_ci(level, "wilson")
    return float(found.low), float(found.high)
