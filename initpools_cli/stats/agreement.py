"""How alike two pools, or two rankings, are."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from initpools_cli.core.errors import UserError


class PoolOverlap(NamedTuple):
    """Images in both pools, and their share of all images in either (Jaccard; NaN where both are empty)."""

    shared: int
    jaccard: float


class RankAgreement(NamedTuple):
    """Correlations in [-1, 1], NaN for fewer than two images, and the share of the top `top` that both have."""

    spearman: float
    kendall: float
    top: int
    top_overlap: float


def pool_overlap(first: ArrayLike, second: ArrayLike) -> PoolOverlap:
    """What two pools have in common.

    Parameters
    ----------
    first, second : array_like of int
        Indices, in any order; a repeated index counts once.
    """
    a, b = np.unique(np.asarray(first)), np.unique(np.asarray(second))
    shared = np.intersect1d(a, b, assume_unique=True).size
    either = a.size + b.size - shared
    return PoolOverlap(shared, shared / either if either else math.nan)


def rank_agreement(first: ArrayLike, second: ArrayLike, top: int = 100) -> RankAgreement:
    """How far two rankings put the same images first.

    Parameters
    ----------
    first, second : array_like of int, shape (n,)
        The same images, best first.
    top : int
        Length of the head to compare; at most n is used.

    Raises
    ------
    UserError
        The rankings do not hold the same images, each once.
    """
    from scipy.stats import kendalltau

    a, b = _positions(first, second)
    n = a.size
    head = min(top, n)
    overlap = int(((a < head) & (b < head)).sum()) / head if head else math.nan
    if n < 2:
        return RankAgreement(math.nan, math.nan, head, overlap)
    # Without ties this is Pearson's coefficient of the ranks, exactly.
    squares = float(((a - b).astype(np.float64) ** 2).sum())
    return RankAgreement(1 - 6 * squares / (n * (n * n - 1)), float(kendalltau(a, b).statistic), head, overlap)


def _positions(first: ArrayLike, second: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of each image, in ascending order of index, its place in either ranking."""
    a, b = np.asarray(first), np.asarray(second)
    for name, ranking in (("first", a), ("second", b)):
        if np.unique(ranking).size != ranking.size:
            raise UserError(f"The {name} ranking names an image more than once.", "Give every image one place.")
    if a.size != b.size:
        raise UserError(f"The rankings have {a.size} and {b.size} images.", "Compare rankings of the same images.")
    order_a, order_b = np.argsort(a), np.argsort(b)
    if not np.array_equal(a[order_a], b[order_b]):
        lost = np.setdiff1d(a, b).size
        raise UserError(f"{lost} images of the first ranking are not in the second.", "Compare the same images.")
    return order_a.astype(np.int64), order_b.astype(np.int64)
