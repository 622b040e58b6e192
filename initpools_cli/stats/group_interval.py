"""Number of independent images that images in groups are worth, for confidence intervals of an accuracy."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from initpools_cli.stats.proportions import wilson_interval


def independent_images(right: NDArray[np.bool_], groups: NDArray[np.int64], level: float = 0.95) -> float:
    """Compute the effective number of images for the interval of a proportion, from the variance between groups.

    It is the number of images over the design effect (Kish 1965), which compares the variance of the ratio estimator
    over groups with that of independent images, times the squared ratio of the quantiles of the normal distribution and
    of Student's with one degree of freedom less than groups (Korn & Graubard 1998). Wilson's interval with this number
    instead of the number of images is accurate for clustered data (Dean & Pavlou 2015). Where all predictions are
    right, or all are wrong, nothing is known of the variance, and images of one group are taken for equal.

    Parameters
    ----------
    right : (n,) bool
        Whether each prediction is right; at least one.
    groups : (n,) int64
        The group of each image, any numbers.
    level : float
        Confidence level, between 0 and 1.

    Returns
    -------
    float
        At most n; 0 for a single group, which has no interval.
    """
    from scipy.stats import t

    _, group = np.unique(groups, return_inverse=True)
    sizes = np.bincount(group).astype(np.float64)
    images, count = float(len(right)), len(sizes)
    if count < 2:
        return 0.0
    share = float(right.mean())
    worth = images**2 / float((sizes**2).sum())
    if 0 < share < 1:
        residual = np.bincount(group, weights=right) - share * sizes
        between = count / (count - 1) * float((residual**2).sum()) / images**2
        worth = min(images, share * (1 - share) / between) if between > 0 else images
    quantile = NormalDist().inv_cdf((1 + level) / 2) / float(t.ppf((1 + level) / 2, count - 1))
    return float(worth * quantile**2)


def grouped_interval(
    right: NDArray[np.bool_], groups: NDArray[np.int64], level: float = 0.95, *, worth: float = 1.0
) -> tuple[float, float]:
    """Compute Wilson's interval of the share of right predictions with `independent_images`.

    In simulations with 4 to 60 groups of 5 to 39 images, accuracies of 50, 85 and 95 %, and correlations within groups
    of 0.02 to 0.8, the 95 % interval contained the accuracy in 86 to 100 % of cases, and that of independent images in
    19 to 91 % (benchmarks/groups.py).

    Parameters
    ----------
    right, groups, level
        See `independent_images`.
    worth : float
        Independent images that each one stands for.

    Returns
    -------
    low, high : float
        In [0, 1]; 0 and 1 for a single group.
    """
    count = independent_images(right, groups, level)
    return wilson_interval(float(right.mean()), worth * count, level) if count else (0.0, 1.0)
