"""Confidence interval of a proportion."""

from __future__ import annotations

from statistics import NormalDist

#: Share of the labels that a cross-validated accuracy is worth, as a number of independent images.
EFFECTIVE = 0.6


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


def wilson_interval(share: float, count: float, level: float = 0.95) -> tuple[float, float]:
    """Compute Wilson's score interval of a share of a number of trials that need not be whole."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    center = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * (share * (1 - share) / count + z * z / (4 * count * count)) ** 0.5
    return max(0.0, center - half), min(1.0, center + half)


def cross_validated_interval(right: int, count: int, level: float = 0.95) -> tuple[float, float]:
    """Compute the interval of the accuracy, on other images, of a model trained on all labels.

    It is Wilson's with fewer images than there are labels. Predictions of cross-validation depend on each other, each
    comes from a model with fewer labels, and the accuracy itself varies with the labels: the mean squared error of the
    cross-validated accuracy was about 1.6 times that of as many independent images (benchmarks/confidence.py), whose
    inverse is `EFFECTIVE`.

    Parameters
    ----------
    right, count : int
        Number of correct predictions of stratified 5-fold cross-validation, and of labels.
    level : float
        Confidence level, between 0 and 1.

    Returns
    -------
    low, high : float
        In [0, 1]; 0 and 1 if `count` is 0.
    """
    return wilson_interval(right / count, EFFECTIVE * count, level) if count else (0.0, 1.0)


def difference_interval(
    right: int, count: int, other_right: int, other_count: int, level: float = 0.95
) -> tuple[float, float]:
    """Compute Newcombe's interval (1998, method 10) of the difference of two independent proportions."""
    share, other = right / count, other_right / other_count
    low, high = wilson_interval(share, count, level)
    other_low, other_high = wilson_interval(other, other_count, level)
    below = ((share - low) ** 2 + (other_high - other) ** 2) ** 0.5
    above = ((high - share) ** 2 + (other - other_low) ** 2) ** 0.5
    return share - other - below, share - other + above
