"""Sampling error of a difference that comes from the images of the test split."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.types import DataFrame
from initpools_cli.stats.group_variance import RightByGroup, WithGroups, over_seeds_and_groups
from initpools_cli.stats.learning_curves import rows_by_cell
from initpools_cli.stats.paired import Paired

#: Curve (init, query, learner, encoder) and measure of a comparison.
Comparison = tuple[tuple[str, str, str, str], str]


@dataclass(frozen=True)
class EvaluatedImages:
    """The test images of a sweep.

    Attributes
    ----------
    count : int
        Number of test images.
    correct : (rows, count) bool, optional
        Whether each prediction is right, for each row of ``rounds.csv``; any in rows without metrics. Sweeps of older
        versions have none.
    label : (count,) int64, optional
        Class of each image.
    """

    count: int
    correct: NDArray[np.bool_] | None = None
    label: NDArray[np.int64] | None = None


class SplitError(NamedTuple):
    """Standard error of a difference over test images, and the interval over seeds and test images.

    Attributes
    ----------
    error : float
        In the metric's unit; NaN if unknown.
    kind : str
        "measured" from predictions; "bound": an upper bound; "groups": over groups; "" if unknown.
    low, high : float
        95 % interval; NaN if undefined.
    """

    error: float = math.nan
    kind: str = ""
    low: float = math.nan
    high: float = math.nan


def variance_over_images(differences: NDArray[np.float64], label: NDArray[np.int64], metric: str) -> float:
    """Compute the variance that the choice of test images gives the mean difference of two methods.

    Seeds and images are crossed: every seed is tested on the same images. As in a two-way analysis of variance, the
    interaction of seeds and images is subtracted from the variance over images of the mean over seeds: the variance
    over seeds already contains it.

    Parameters
    ----------
    differences : (s, n) float64
        For each seed and test image, correctness of the first method minus that of the second, in [-1, 1].
    label : (n,) int64
        Class of each image.
    metric : str
        One of `group_variance.METRICS`.

    Returns
    -------
    float
        At least 0; NaN for a single image.
    """
    seeds, images = differences.shape
    if images < 2:
        return math.nan
    part = label if metric == "balanced_accuracy" else np.zeros_like(label)
    _, part = np.unique(part, return_inverse=True)
    counts = np.bincount(part)
    means = differences @ np.eye(len(counts))[part] / counts
    residual = (differences - means[:, part]) / counts[part] / len(counts)
    by_image = residual.mean(axis=0) ** 2
    if seeds > 1:
        by_image -= residual.var(axis=0, ddof=1) / seeds
    return max(0.0, float(images / (images - 1) * by_image.sum()))


def largest_variance(first: float, second: float, images: int) -> float:
    """Bound the variance over test images of the difference of two accuracies from the accuracies alone.

    It is largest if every seed of a method is right on the same images, and both methods are right together on as few
    images as possible. Images on which one is right and the other is wrong are then a share of
    min(first + second, 2 - first - second).

    Parameters
    ----------
    first, second : float
        Mean accuracies on the same test images, in [0, 1].
    images : int
        Number of test images.
    """
    discordant = min(first + second, 2 - first - second)
    return max(0.0, discordant - (first - second) ** 2) / (images - 1) if images > 1 else math.nan


def over_groups(
    rounds: DataFrame,
    comparisons: Mapping[Comparison, Paired],
    against: str,
    groups: RightByGroup,
    metric: str,
) -> list[tuple[Paired, SplitError]]:
    """Return each comparison with its interval and p over seeds and groups, and the error over groups.

    Parameters
    ----------
    rounds : DataFrame
        Rows of ``rounds.csv``.
    comparisons : mapping of ((init, query, learner, encoder), measure) to Paired
    against : str
        The first pool that each is compared with.
    groups : RightByGroup
        For `rounds`.
    metric : str
        One of `group_variance.METRICS`.
    """
    results = []
    for comparison, differences in _differences(rounds, comparisons, against, groups.right):
        if differences is None:
            results.append((comparison, SplitError()))
            continue
        variance = groups.variance(differences.mean(axis=0), metric)
        wider = _over_both(comparison, variance, groups.count)
        # With a single group nothing is known about others.
        p = 1.0 if math.isnan(wider.p) else max(comparison.p, wider.p)
        error = SplitError(math.sqrt(variance), "groups", wider.low, wider.high)
        results.append((comparison._replace(low=wider.low, high=wider.high, p=p), error))
    return results


def over_images(
    rounds: DataFrame,
    comparisons: Mapping[Comparison, Paired],
    against: str,
    images: EvaluatedImages,
    metric: str,
) -> list[SplitError]:
    """Return the error of each comparison over test images; the parameters are those of `over_groups`.

    The error is measured if correct predictions are known. Else accuracy has an upper bound, and other metrics none.
    """
    errors = []
    for comparison, differences in _differences(rounds, comparisons, against, images.correct):
        if differences is not None and images.label is not None:
            variance, kind = variance_over_images(differences, images.label, metric), "measured"
        elif images.correct is None and metric == "accuracy" and _varies(comparison):
            variance, kind = largest_variance(comparison.mean, comparison.against, images.count), "bound"
        else:
            variance, kind = math.nan, ""
        if math.isnan(variance):
            errors.append(SplitError())
            continue
        both = _over_both(comparison, variance, images.count)
        errors.append(SplitError(math.sqrt(variance), kind, both.low, both.high))
    return errors


def _varies(comparison: Paired) -> bool:
    """Whether a comparison has an interval."""
    return comparison.pairs > 1 and not comparison.constant


def _over_both(comparison: Paired, variance: float, count: int) -> WithGroups:
    """Return the interval over seeds and test images or groups.

    Its degrees of freedom are those of the smaller of the two numbers, so it is never narrower than that over seeds.
    """
    by_seeds = comparison.deviation**2 / comparison.pairs
    return over_seeds_and_groups(comparison.difference, by_seeds, comparison.pairs, variance, count)


def _differences(
    rounds: DataFrame, comparisons: Mapping[Comparison, Paired], against: str, values: NDArray[Any] | None
) -> Iterator[tuple[Paired, NDArray[np.float64] | None]]:
    """Yield each comparison, and its differences of `values` (rows, k) at each seed, (s, k); None if undefined."""
    measures = {measure for _, measure in comparisons} if values is not None else ()
    cells = {measure: rows_by_cell(rounds, measure) for measure in measures}
    for (curve, measure), comparison in comparisons.items():
        if values is None or not _varies(comparison):
            yield comparison, None
            continue
        first, second = cells[measure][curve], cells[measure][against, *curve[1:]]
        both = [seed for seed in first if seed in second]
        yield comparison, np.array([first[seed].average(values) - second[seed].average(values) for seed in both])
