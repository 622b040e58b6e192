"""Two methods over the same seeds: how far apart, and whether by more than chance."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from initpools_cli.core.seeds import generator
from initpools_cli.stats.intervals import ROUNDING, mean_interval

#: Up to so many pairs every assignment of signs is counted, in two halves of at most 2**15.
EXACT = 30
#: Random assignments of signs beyond that.
DRAWS = 99_999


class Paired(NamedTuple):
    """A paired comparison.

    Attributes
    ----------
    pairs : int
        Seeds at which both have a value.
    mean, against : float
        Means of the first and of the second over those seeds.
    difference, low, high : float
        Mean difference, first minus second, and its 95 % t-interval; NaN where there is none.
    p : float
        Two-sided, of the sign-flip permutation test; NaN without variation.
    effect : float
        Mean difference over the standard deviation of the differences (Cohen's d_z); NaN without variation.
    rank_biserial : float
        Matched-pairs rank-biserial correlation in [-1, 1]: 1 where the first wins at every seed.
    deviation : float
        Standard deviation of the differences.
    still : str
        What did not vary over the seeds, so that they say nothing: "", "first", "second" or "difference".
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
    still: str = ""


def paired(first: ArrayLike, second: ArrayLike) -> Paired:
    """Compare two methods seed by seed.

    Parameters
    ----------
    first, second : array_like of float, shape (s,)
        One value a seed, in the same order; a seed at which either is NaN is left out.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    both = ~(np.isnan(a) | np.isnan(b))
    a, b = a[both], b[both]
    if not len(a):
        return Paired(0)
    differences = a - b
    difference, low, high = mean_interval(differences)
    found = Paired(len(a), float(a.mean()), float(b.mean()), difference)
    if len(a) == 1:
        return found
    scale = max(np.abs(a).max(), np.abs(b).max())
    series = {"first": a, "second": b, "difference": differences}
    still = next((name for name, values in series.items() if np.ptp(values) <= ROUNDING * scale), "")
    if still:
        return found._replace(still=still)
    deviation = float(differences.std(ddof=1))
    return found._replace(
        low=low,
        high=high,
        p=sign_flip(differences),
        effect=difference / deviation,
        rank_biserial=rank_biserial(differences),
        deviation=deviation,
    )


def sign_flip(differences: ArrayLike, rng: np.random.Generator | None = None) -> float:
    """Two-sided p-value of the permutation test that flips the signs of paired differences (Fisher 1935).

    Parameters
    ----------
    differences : array_like of float, shape (s,)
        No NaN.
    rng : Generator, optional
        For more than 30 differences, of whose signs 99,999 random assignments are drawn; at or below 30 all 2**s count.

    Returns
    -------
    float
        The share of assignments whose sum is at least as far from 0 as the one seen, itself among them.
    """
    d = np.asarray(differences, dtype=np.float64)
    # Sums that are equal but for the order of their terms count as equal.
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
    """Matched-pairs rank-biserial correlation (Kerby 2014): the share of the ranks won minus the share lost.

    Parameters
    ----------
    differences : array_like of float, shape (s,)
        Zeros are left out; NaN where nothing else is there.
    """
    from scipy.stats import rankdata

    d = np.asarray(differences, dtype=np.float64)
    d = d[d != 0]
    if not len(d):
        return math.nan
    ranks = rankdata(np.abs(d))
    return float((np.sign(d) * ranks).sum() / ranks.sum())


def holm(p: ArrayLike, family: int | None = None) -> NDArray[np.float64]:
    """p-values corrected for the family they belong to (Holm 1979): any false alarm has at most the nominal level.

    Parameters
    ----------
    p : array_like of float, shape (m,)
        NaN counts as a member of the family that is not rejected, and stays NaN.
    family : int, optional
        Size of the family; default: m.
    """
    raw = np.asarray(p, dtype=np.float64)
    order = np.argsort(raw, kind="stable")
    steps = (family or len(raw)) - np.arange(len(raw))
    corrected = np.empty(len(raw))
    corrected[order] = np.minimum(np.maximum.accumulate(raw[order] * steps), 1)
    return corrected
