"""Agreement of two pools or two rankings."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from initpools_cli.core.errors import UserError


class PoolOverlap(NamedTuple):
    """Number of images in both pools, and Jaccard index (NaN if both are empty)."""

    shared: int
    jaccard: float


class RankAgreement(NamedTuple):
    """Rank correlations in [-1, 1], NaN for fewer than two images, and the overlap of the first `top` images."""

    spearman: float
    kendall: float
    top: int
    top_overlap: float


def pool_overlap(first: ArrayLike, second: ArrayLike) -> PoolOverlap:
    """Count the images that two pools share.

    Parameters
    ----------
    first, second : array_like of int
        Indices, in any order; a repeated index counts once.
    """
    a, b = np.unique(np.asarray(first)), np.unique(np.asarray(second))
    common = np.intersect1d(a, b, assume_unique=True).size
    either = a.size + b.size - common
    return PoolOverlap(common, common / either if either else math.nan)


def rank_agreement(first: ArrayLike, second: ArrayLike, top: int = 100) -> RankAgreement:
    """Compare two rankings by Spearman's rho, Kendall's tau and the overlap of their first images.

    Parameters
    ----------
    first, second : array_like of int, shape (n,)
        The same images, best first.
    top : int
        Number of first images to compare; at most n.

    Raises
    ------
    UserError
        If the rankings do not hold the same images, each once.
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
    """Return the position of each image, by ascending index, in both rankings."""
    a, b = np.asarray(first), np.asarray(second)
    for name, ranking in (("first", a), ("second", b)):
        images, counts = np.unique(ranking, return_counts=True)
        if images.size != ranking.size:
            twice = images[counts > 1][0]
            raise UserError(
                f"The {name} ranking has image {twice} more than once.", "Name each image once in the file.", twice
            )
    if a.size != b.size:
        raise UserError(
            f"The rankings have {a.size} and {b.size} images.", "Compare rankings of the same images.", b.size
        )
    order_a, order_b = np.argsort(a), np.argsort(b)
    if not np.array_equal(a[order_a], b[order_b]):
        missing = np.setdiff1d(a, b).size
        raise UserError(
            f"{missing} images of the first ranking are not in the second.",
            "Compare rankings of the same images.",
            missing,
        )
    return order_a.astype(np.int64), order_b.astype(np.int64)
