"""Variance of an accuracy of a sweep that comes from the groups of the test images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Metrics that are means over test images, or over classes of such means.
METRICS = ("accuracy", "balanced_accuracy")


@dataclass(frozen=True)
class RightByGroup:
    """Correct predictions of the test images of every group and class, for each row of ``rounds.csv``.

    Attributes
    ----------
    right : (rows, k) float
        Number of correct predictions; any in rows without metrics.
    group, label : (k,) int64
        Group and class of each column.
    images : (k,) int64
        Number of test images of each column.
    """

    right: NDArray[np.float64]
    group: NDArray[np.int64]
    label: NDArray[np.int64]
    images: NDArray[np.int64]

    @property
    def count(self) -> int:
        """Number of groups."""
        return len(np.unique(self.group))

    def variance(self, right: NDArray[np.float64], metric: str) -> float:
        """Compute the variance of a metric over groups, by linearization as in surveys of clusters.

        Parameters
        ----------
        right : (k,) float
            A weighted sum of rows of `right`, such as the mean difference of two methods.
        metric : str
            One of `METRICS`.

        Returns
        -------
        float
            NaN with a single group.
        """
        part = self.label if metric == "balanced_accuracy" else np.zeros_like(self.label)
        _, part = np.unique(part, return_inverse=True)
        images = np.bincount(part, weights=self.images)
        mean = np.bincount(part, weights=right) / images
        residual = (right - mean[part] * self.images) / images[part] / len(images)
        _, group = np.unique(self.group, return_inverse=True)
        by_group = np.bincount(group, weights=residual)
        count = len(by_group)
        return float(count / (count - 1) * (by_group**2).sum()) if count > 1 else math.nan


class WithGroups(NamedTuple):
    """Interval and two-sided p-value of a mean over seeds and groups."""

    low: float
    high: float
    p: float


def over_seeds_and_groups(
    mean: float, by_seeds: float, seeds: int, by_groups: float, groups: int, level: float = 0.95
) -> WithGroups:
    """Compute a t-interval whose variance is the sum of that of the mean over seeds and that over groups.

    Seeds and groups are crossed: all seeds are measured on the same groups. The sum counts their interaction twice, and
    the degrees of freedom are those of the smaller of the two numbers, so the interval is rather too wide: the variance
    over few groups may be small by chance.

    Parameters
    ----------
    mean : float
    by_seeds, by_groups : float
        Variances of the mean.
    seeds, groups : int
    """
    from scipy.stats import t

    total = by_seeds + by_groups
    if seeds < 2 or groups < 2 or not total > 0:
        return WithGroups(math.nan, math.nan, math.nan)
    freedom = min(seeds, groups) - 1
    error = math.sqrt(total)
    half = float(t.ppf((1 + level) / 2, freedom)) * error
    return WithGroups(mean - half, mean + half, 2 * float(t.sf(abs(mean) / error, freedom)))
