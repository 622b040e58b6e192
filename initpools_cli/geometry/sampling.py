"""Drawing points that are far from those already drawn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.blocks import map_blocks
from initpools_cli.geometry.neighbors import Indices, nearest_squared, squared_distances

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
    drawn = np.empty(count, np.int64)
    gaps = np.empty(count)
    for place in range(count):
        weights = np.where(free, squared, 0.0)
        if np.isinf(weights).any() or not weights.any():
            weights = free.astype(np.float64)
        total = np.cumsum(weights)
        at = int(np.searchsorted(total, rng.random() * total[-1], side="right"))
        # Rounding can put the mark on the very end, behind the last row that may be drawn.
        at = min(at, int(np.flatnonzero(weights)[-1]))
        drawn[place], gaps[place] = at, squared[at]
        free[at] = False
        lower_to(points, points[at], squared, threads)
    return drawn, gaps


def lower_to(
    points: NDArray[np.float32], centre: NDArray[np.float32], squared: NDArray[np.float64], threads: int | None
) -> None:
    """Lower `squared` (n,), in place, to the squared distance from `centre` (d,) where that is less."""

    def lower(span: slice) -> None:
        np.minimum(squared[span], squared_distances(points[span], centre), out=squared[span])

    map_blocks(lower, len(points), ROWS, threads)
