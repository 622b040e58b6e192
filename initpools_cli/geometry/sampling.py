"""Drawing points that are far from those already drawn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.chunked import map_blocks
from initpools_cli.geometry.distances import Indices, close_up, product_error, squared_distances
from initpools_cli.geometry.neighbors import nearest_squared

ROWS = 4096


def distance_weighted(
    points: NDArray[np.float32], count: int, rng: np.random.Generator, chosen: Indices, threads: int | None = None
) -> tuple[Indices, NDArray[np.float64]]:
    """Draw `count` rows one by one, each with probability proportional to its squared distance from the nearest chosen.

    Duplicates of chosen rows have probability 0 until nothing else is left; then the rest is drawn evenly. One random
    number is used for each draw, so a longer draw begins with the shorter one.

    Parameters
    ----------
    points : (n, d) float32
    count : int
        ≤ n − len(chosen).
    rng : numpy.random.Generator
    chosen : (m,) int64
        Rows drawn before, never drawn again; where there are none the first draw is even.
    threads : int, optional

    Returns
    -------
    indices : (count,) int64
    gaps : (count,) float64
        Squared distance to the nearest row chosen before it; inf where there was none.
    """
    free = np.ones(len(points), bool)
    free[chosen] = False
    squared = np.full(len(points), np.inf)
    if len(chosen):
        squared = nearest_squared(points, points[chosen], None, threads)[1]
    seen, lengths, _ = close_up(points, threads)
    norms = lengths.astype(np.float32)
    drawn = np.empty(count, np.int64)
    gaps = np.empty(count)
    for place in range(count):
        at = draw(squared, free, rng)
        drawn[place], gaps[place] = at, squared[at]
        free[at] = False
        _lower(points, seen, norms, at, squared, threads)
    return drawn, gaps


def draw(weights: NDArray[np.float64], free: NDArray[np.bool_], rng: np.random.Generator) -> int:
    """One of the free rows, by one random number, with probability proportional to its weight.

    Where a weight is infinite, or none is above 0, all free rows are equally probable.

    Parameters
    ----------
    weights : (n,) float64
        ≥ 0.
    free : (n,) bool
        True somewhere.
    rng : numpy.random.Generator
    """
    weights = np.where(free, weights, 0.0)
    if np.isinf(weights).any() or not weights.any():
        weights = free.astype(np.float64)
    total = np.cumsum(weights)
    at = int(np.searchsorted(total, rng.random() * total[-1], side="right"))
    # Rounding can put the mark on the very end, behind the last row that may be drawn.
    return min(at, int(np.flatnonzero(weights)[-1]))


def _lower(
    points: NDArray[np.float32],
    seen: NDArray[np.float32],
    norms: NDArray[np.float32],
    at: int,
    squared: NDArray[np.float64],
    threads: int | None,
) -> None:
    """Lower `squared` (n,), in place, to the squared distance from row `at` where that is less; exact where it is."""
    target = -2 * seen[at]

    def lower(span: slice) -> None:
        rough = seen[span] @ target + norms[span] + norms[at]
        reach = np.sqrt(norms[span]) + np.sqrt(norms[at])
        near = rough - product_error(points.shape[1], reach) < squared[span]
        rows = span.start + np.flatnonzero(near & (squared[span] > 0))
        squared[rows] = np.minimum(squared[rows], squared_distances(points[rows], points[at]))

    map_blocks(lower, len(points), ROWS, threads)
