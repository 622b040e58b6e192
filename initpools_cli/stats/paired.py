"""Paired comparison of two methods over the same seeds."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from initpools_cli.core.seeds import generator
from initpools_cli.stats.intervals import ROUNDING, mean_interval

# Up to this many pairs all sign assignments are counted, in two halves of at most 2**15.
EXACT = 30
# Number of random sign assignments for more pairs.
DRAWS = 99_999


class Paired(NamedTuple):
    """Result of `paired`.

    Attributes
    ----------
    pairs : int
        Number of seeds at which both methods have a value.
    mean, against : float
        Means of the first and of the second method over those seeds.
    difference, low, high : float
        Mean difference, first minus second, and its 95 % t-interval; NaN if undefined.
    p : float
        Two-sided p-value of the sign-flip permutation test; NaN without variation.
    effect : float
        Mean difference over the standard deviation of the differences (Cohen's d_z); NaN without variation.
    rank_biserial : float
        Matched-pairs rank-biserial correlation in [-1, 1]: 1 if the first method wins at every seed.
    deviation : float
        Standard deviation of the differences.
    constant : str
        The series that does not vary over the seeds: "", "first", "second" or "difference".
    """

    pairs: int
    mean: float = math.nan
    against: float = math.nan
    difference: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    effect: float = math.nan
    rank_biserial: float = math.nan
    deviation: float = math.nan
    constant: str = ""


def paired(first: ArrayLike, second: ArrayLike) -> Paired:
    """Compare two methods seed by seed.

    Parameters
    ----------
    first, second : array_like of float, shape (s,)
        One value per seed, in the same order; seeds at which either is NaN are left out.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    both = ~(np.isnan(a) | np.isnan(b))
    a, b = a[both], b[both]
    if not len(a):
        return Paired(0)
    differences = a - b
    difference, low, high = mean_interval(differences)
    result = Paired(len(a), float(a.mean()), float(b.mean()), difference)
    if len(a) == 1:
        return result
    scale = max(np.abs(a).max(), np.abs(b).max())
    series = {"first": a, "second": b, "difference": differences}
    constant = next((name for name, values in series.items() if np.ptp(values) <= ROUNDING * scale), "")
    if constant:
        return result._replace(constant=constant)
    deviation = float(differences.std(ddof=1))
    return result._replace(
        low=low,
        high=high,
        p=sign_flip(differences),
        effect=difference / deviation,
        rank_biserial=rank_biserial(differences),
        deviation=deviation,
    )


def sign_flip(differences: ArrayLike, rng: np.random.Generator | None = None) -> float:
    """Compute the two-sided p-value of the sign-flip permutation test of paired differences (Fisher 1935).

    Parameters
    ----------
    differences : array_like of float, shape (s,)
        No NaN.
    rng : Generator, optional
        For more than 30 differences, with 99,999 random sign assignments; up to 30 the test is exact.

    Returns
    -------
    float
        Share of sign assignments whose sum is at least as far from 0 as the observed one, which is included.
    """
    d = np.asarray(differences, dtype=np.float64)
    # Tolerance, so that sums that differ by the order of their terms count as equal.
    reach = abs(d.sum()) - 1e-9 * np.abs(d).sum()
    if len(d) <= EXACT:
        half, rest = _signed_sums(d[: len(d) // 2]), np.sort(_signed_sums(d[len(d) // 2 :]))
        above = len(rest) - np.searchsorted(rest, reach - half, "left")
        below = np.searchsorted(rest, -reach - half, "right") if reach > 0 else len(rest) - above
        return float((above.sum() + below.sum()) / (len(half) * len(rest)))
    draw = generator(0, "sign flips") if rng is None else rng
    hits = sum(
        int((np.abs((2.0 * draw.integers(0, 2, (block, len(d))) - 1) @ d) >= reach).sum())
        for block in np.diff(np.append(np.arange(0, DRAWS, 10_000), DRAWS))
    )
    return (hits + 1) / (DRAWS + 1)


def _signed_sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def rank_biserial(differences: ArrayLike) -> float:
    """Compute the matched-pairs rank-biserial correlation: share of ranks won minus share lost (Kerby 2014).

    Parameters
    ----------
    differences : array_like of float, shape (s,)
        Zeros are left out.

    Returns
    -------
    float
        In [-1, 1]; NaN if all differences are 0.
    """
    from scipy.stats import rankdata

    d = np.asarray(differences, dtype=np.float64)
    d = d[d != 0]
    if not len(d):
        return math.nan
    ranks = rankdata(np.abs(d))
    return float((np.sign(d) * ranks).sum() / ranks.sum())


def holm(p: ArrayLike, family: int | None = None) -> NDArray[np.float64]:
    """Correct p-values for multiple comparisons, controlling the family-wise error rate (Holm 1979).

    Parameters
    ----------
    p : array_like of float, shape (m,)
        NaN stays NaN and counts as a member of the family that is not rejected.
    family : int, optional
        Size of the family; default: m.
    """
    raw = np.asarray(p, dtype=np.float64)
    order = np.argsort(raw, kind="stable")
    steps = (family or len(raw)) - np.arange(len(raw))
    corrected = np.empty(len(raw))
    corrected[order] = np.minimum(np.maximum.accumulate(raw[order] * steps), 1)
    return corrected
