"""Friedman's test and Nemenyi's critical difference of methods over data sets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from initpools_cli.core.seeds import generator

DRAWS = 19_999
# Permutations that are drawn together, so that memory does not grow with their number.
BLOCK = 500


@dataclass(frozen=True)
class FriedmanResult:
    """Result of `friedman`.

    Attributes
    ----------
    ranks : (k,) float64
        Mean rank of each method over the blocks, 1 the best.
    statistic : float
        Friedman's chi-square, corrected for ties.
    p : float
        Permutation p-value.
    critical_difference : float
        Mean ranks that differ by more are significantly different (Nemenyi).
    """

    ranks: NDArray[np.float64]
    statistic: float
    p: float
    critical_difference: float


def friedman(values: ArrayLike, alpha: float = 0.05, rng: np.random.Generator | None = None) -> FriedmanResult:
    """Test whether methods differ over blocks, such as data sets (Friedman 1937; Demšar 2006).

    The p-value is from 19,999 random permutations within the blocks, because the chi-square approximation is poor for
    few data sets.

    Parameters
    ----------
    values : array_like of float, shape (blocks, k)
        Higher is better; at least two blocks and two methods; no NaN.
    alpha : float
        Significance level of the critical difference.
    rng : Generator, optional
        Draws the permutations; default: the same for every call.

    Raises
    ------
    ValueError
        If there are fewer than two blocks or methods.
    """
    return friedman_all([values], alpha, rng)[0]


def friedman_all(
    tables: Sequence[ArrayLike], alpha: float = 0.05, rng: np.random.Generator | None = None
) -> list[FriedmanResult]:
    """Test each of several tables; the result of each is that of `friedman`.

    Tables of the same shape share the permutations, so they are drawn once.
    """
    ranked = [_ranks(table) for table in tables]
    p = np.empty(len(ranked))
    for shape in dict.fromkeys(ranks.shape for ranks in ranked):
        places = [place for place, ranks in enumerate(ranked) if ranks.shape == shape]
        p[places] = _p([ranked[place] for place in places], generator(0, "friedman") if rng is None else rng)
    return [_result(ranks, float(each), alpha) for ranks, each in zip(ranked, p, strict=True)]


def _ranks(values: ArrayLike) -> NDArray[np.float64]:
    """Rank the methods within each block, 1 the best."""
    from scipy.stats import rankdata

    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or min(table.shape) < 2:
        raise ValueError(f"values {table.shape} must have at least two blocks and two methods")
    ranks: NDArray[np.float64] = rankdata(-table, axis=1)
    return ranks


def _p(tables: Sequence[NDArray[np.float64]], draw: np.random.Generator) -> NDArray[np.float64]:
    """Return the permutation p-value of each table of ranks, all of one shape."""
    observed = [float((ranks.sum(0) ** 2).sum()) for ranks in tables]
    hits, places = np.zeros(len(tables), np.int64), np.arange(tables[0].size).reshape(tables[0].shape)
    for start in range(0, DRAWS, BLOCK):
        order = draw.permuted(np.broadcast_to(places, (min(BLOCK, DRAWS - start), *places.shape)), axis=2)
        for table, ranks in enumerate(tables):
            rank_sums = ranks.ravel()[order].sum(1)
            hits[table] += ((rank_sums**2).sum(1) >= observed[table] - 1e-9).sum()
    return (hits + 1) / (DRAWS + 1)


def _result(ranks: NDArray[np.float64], p: float, alpha: float) -> FriedmanResult:
    blocks, methods = ranks.shape
    difference = nemenyi(methods, blocks, alpha)
    variation = float(((ranks - (methods + 1) / 2) ** 2).sum())
    if variation == 0:
        return FriedmanResult(ranks.mean(0), 0.0, 1.0, difference)
    excess = float((ranks.sum(0) ** 2).sum()) - blocks**2 * methods * (methods + 1) ** 2 / 4
    return FriedmanResult(ranks.mean(0), (methods - 1) * excess / variation, p, difference)


def nemenyi(methods: int, blocks: int, alpha: float = 0.05) -> float:
    """Compute the critical difference of mean ranks between two of `methods` over `blocks` (Nemenyi 1963)."""
    from scipy.stats import studentized_range

    q = float(studentized_range.ppf(1 - alpha, methods, np.inf))
    return q / math.sqrt(2) * math.sqrt(methods * (methods + 1) / (6 * blocks))
