"""Paired comparison of two methods over the same seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from initpools_cli.core.seeds import generator
from initpools_cli.stats.intervals import ROUNDING, mean_interval

# Up to this many pairs all sign assignments are counted, in two halves of at most 2**15.
EXACT = 30
# Number of random sign assignments for more pairs.
DRAWS = 99_999
# Series that are summed together, so that memory does not grow with their number.
ROWS = 256


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
    return paired_all([(first, second)])[0]


def paired_all(series: Sequence[tuple[ArrayLike, ArrayLike]]) -> list[Paired]:
    """Compare two methods in each of many settings; the result of each is that of `paired`.

    Parameters
    ----------
    series : sequence of (first, second)
        As for `paired`.
    """
    results = [_without_p(first, second) for first, second in series]
    places = [place for place, (_, differences) in enumerate(results) if len(differences)]
    p = dict(zip(places, sign_flips([results[place][1] for place in places]).tolist(), strict=True))
    return [result._replace(p=p.get(place, math.nan)) for place, (result, _) in enumerate(results)]


def _without_p(first: ArrayLike, second: ArrayLike) -> tuple[Paired, NDArray[np.float64]]:
    """Return all of a comparison but its p, and the differences to test; none where there is nothing to test."""
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    both = ~(np.isnan(a) | np.isnan(b))
    a, b = a[both], b[both]
    nothing = np.empty(0)
    if not len(a):
        return Paired(0), nothing
    differences = a - b
    difference, low, high = mean_interval(differences)
    result = Paired(len(a), float(a.mean()), float(b.mean()), difference)
    if len(a) == 1:
        return result, nothing
    scale = max(np.abs(a).max(), np.abs(b).max())
    series = {"first": a, "second": b, "difference": differences}
    constant = next((name for name, values in series.items() if np.ptp(values) <= ROUNDING * scale), "")
    if constant:
        return result._replace(constant=constant), nothing
    deviation = float(differences.std(ddof=1))
    effect, ranks = difference / deviation, rank_biserial(differences)
    return result._replace(low=low, high=high, effect=effect, rank_biserial=ranks, deviation=deviation), differences


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
    return float(sign_flips([differences], rng)[0])


def sign_flips(series: Sequence[ArrayLike], rng: np.random.Generator | None = None) -> NDArray[np.float64]:
    """Compute the p-value of `sign_flip` of each of many series of differences, (m,).

    Series of the same length share the random sign assignments, so they are drawn once.
    """
    rows = [np.asarray(each, dtype=np.float64) for each in series]
    p = np.empty(len(rows))
    for count in dict.fromkeys(map(len, rows)):
        places = [place for place, each in enumerate(rows) if len(each) == count]
        test = _exact_p_values if count <= EXACT else _drawn_p_values
        p[places] = test(np.array([rows[place] for place in places]), rng)
    return p


def _reach(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far from 0 a sum must be to count, for each row."""
    # Tolerance, so that sums that differ by the order of their terms count as equal.
    return np.array([abs(d.sum()) - 1e-9 * np.abs(d).sum() for d in rows])


def _exact_p_values(rows: NDArray[np.float64], _: np.random.Generator | None) -> NDArray[np.float64]:
    """Count all sign assignments of each row."""
    return np.array([_exact_p(d, reach) for d, reach in zip(rows, _reach(rows), strict=True)])


def _exact_p(d: NDArray[np.float64], reach: float) -> float:
    if reach <= 0:
        return 1.0
    # Sorted values are searched for several times as fast.
    half, rest = (np.sort(_signed_sums(part)) for part in (d[: len(d) // 2], d[len(d) // 2 :]))
    above = len(rest) - np.searchsorted(rest, reach + half, "left")
    # The sums of opposite assignments are opposite, so as many are at most -reach.
    return float(2 * above.sum() / (len(half) * len(rest)))


def _drawn_p_values(rows: NDArray[np.float64], rng: np.random.Generator | None) -> NDArray[np.float64]:
    """Count random sign assignments, the same for all rows."""
    draw = generator(0, "sign flips") if rng is None else rng
    hits, reach = np.zeros(len(rows), np.int64), _reach(rows)
    for block in np.diff(np.append(np.arange(0, DRAWS, 10_000), DRAWS)):
        signs = 2.0 * draw.integers(0, 2, (block, rows.shape[1])) - 1
        for start in range(0, len(rows), ROWS):
            part = slice(start, start + ROWS)
            hits[part] += (np.abs(signs @ rows[part].T) >= reach[part]).sum(axis=0)
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
