"""Friedman's test and Nemenyi's critical difference of methods over data sets."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from initpools_cli.core.seeds import generator

DRAWS = 19_999


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
    from scipy.stats import rankdata

    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or min(table.shape) < 2:
        raise ValueError(f"values {table.shape} must have at least two blocks and two methods")
    blocks, methods = table.shape
    ranks = rankdata(-table, axis=1)
    variation = float(((ranks - (methods + 1) / 2) ** 2).sum())
    if variation == 0:
        return FriedmanResult(ranks.mean(0), 0.0, 1.0, nemenyi(methods, blocks, alpha))
    observed = float((ranks.sum(0) ** 2).sum())
    draw = generator(0, "friedman") if rng is None else rng
    rank_sums = draw.permuted(np.broadcast_to(ranks, (DRAWS, blocks, methods)), axis=2).sum(1)
    hits = int(((rank_sums**2).sum(1) >= observed - 1e-9).sum())
    excess = observed - blocks**2 * methods * (methods + 1) ** 2 / 4
    return FriedmanResult(
        ranks=ranks.mean(0),
        statistic=(methods - 1) * excess / variation,
        p=(hits + 1) / (DRAWS + 1),
        critical_difference=nemenyi(methods, blocks, alpha),
    )


def nemenyi(methods: int, blocks: int, alpha: float = 0.05) -> float:
    """Compute the critical difference of mean ranks between two of `methods` over `blocks` (Nemenyi 1963)."""
    from scipy.stats import studentized_range

    q = float(studentized_range.ppf(1 - alpha, methods, np.inf))
    return q / math.sqrt(2) * math.sqrt(methods * (methods + 1) / (6 * blocks))
