"""Row of a table of verdicts."""

from __future__ import annotations

import math
from typing import NamedTuple


class Verdict(NamedTuple):
    """Row of `verdicts`.

    Attributes
    ----------
    init, query, learner, encoder : str
        The curve that is compared; the first pool precedes any query, so its query is "".
    measure : str
        "first pool" and "last round": the metric in that round; "area": its mean over the learning curve.
    labeled : int
        Number of labels at which it is measured; for the area that of the last round.
    against : str
        The first pool that it is compared with, at the same query, learner, encoder and seeds.
    seeds, lost : int
        Number of pairs compared, and of seeds left out because a cell failed.
    mean, against_mean, difference, low, high : float
        In the metric's unit; low and high are the 95 % interval of the mean difference, not corrected.
    p, p_holm : float
        p-value of the sign-flip test, and corrected over the family.
    family : int
        Number of comparisons in the family.
    effect, rank_biserial : float
        Mean difference over the standard deviation of the differences; share of ranks won minus share lost.
    seeds_for_a_point : float
        Seeds needed to detect a difference of 0.01 in this family with 80 % power; NaN without variation.
    verdict, sentence : str
    groups : int
        Number of groups of test images that the interval and p are over, besides seeds; 0 without groups.
    bootstrap_low, bootstrap_high : float
        95 % bootstrap-t interval of the mean difference over seeds; NaN with groups and where it is undefined, see
        `bootstrap_t_intervals`.
    test_images : int
        Number of test images; 0 if unknown.
    test_error : float
        Standard error of the difference over test images or, with groups, over groups; NaN if unknown.
    test_error_kind : str
        "measured", "bound", "groups" or "", see `SplitError`.
    test_low, test_high : float
        95 % interval of the mean difference over seeds and test images.
    """

    init: str
    query: str
    learner: str
    encoder: str
    measure: str
    labeled: int
    against: str
    seeds: int
    lost: int
    mean: float
    against_mean: float
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    family: int
    effect: float
    rank_biserial: float
    seeds_for_a_point: float
    verdict: str
    sentence: str
    groups: int = 0
    bootstrap_low: float = math.nan
    bootstrap_high: float = math.nan
    test_images: int = 0
    test_error: float = math.nan
    test_error_kind: str = ""
    test_low: float = math.nan
    test_high: float = math.nan
