"""k-means++ sampling: draws weighted by squared distance to the points drawn before."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.distances import Indices, center_if_distant, product_error, squared_distances
from initpools_cli.geometry.neighbors import nearest_squared
from initpools_cli.geometry.rows import Points, joined, map_rows, view

ROWS = 4096


def distance_weighted(
    points: Points,
    count: int,
    rng: np.random.Generator,
    earlier_picks: Indices,
    threads: int | None = None,
    weights: NDArray[np.float64] | None = None,
) -> tuple[Indices, NDArray[np.float64]]:
    """Draw `count` rows, each with probability proportional to its squared distance from the nearest chosen row.

    Duplicates of chosen rows have probability 0 until only duplicates are left; then the draw is uniform. Each draw
    uses one random number, so the first picks do not depend on `count`.

    Parameters
    ----------
    points : (n, d) float32, or Rows
    count : int
        ≤ n − len(chosen).
    rng : numpy.random.Generator
    earlier_picks : (m,) int64
        Rows that are chosen already and never drawn; if empty, the first draw is uniform.
    threads : int, optional
    weights : (n,) float64, optional
        > 0; probabilities are multiplied by them, also in the first draw.

    Returns
    -------
    indices : (count,) int64
    gaps : (count,) float64
        Squared distance to the nearest row chosen before it; inf if there was none.
    """
    free = np.ones(len(points), bool)
    free[earlier_picks] = False
    sq_distances = np.full(len(points), np.inf)
    if len(earlier_picks):
        sq_distances = nearest_squared(points, points[earlier_picks], None, threads)[1]
    centered, lengths, _ = center_if_distant(points, threads)
    norms = lengths.astype(np.float32)
    picks = np.empty(count, np.int64)
    gaps = np.empty(count)
    for place in range(count):
        at = draw(
            sq_distances if weights is None else weights * np.where(np.isinf(sq_distances), 1, sq_distances), free, rng
        )
        picks[place], gaps[place] = at, sq_distances[at]
        free[at] = False
        _lower(points, centered, norms, at, sq_distances, threads)
    return picks, gaps


def draw(weights: NDArray[np.float64], free: NDArray[np.bool_], rng: np.random.Generator) -> int:
    """Draw one of the free rows with probability proportional to its weight, using one random number.

    If a weight is infinite or none is above 0, all free rows are equally probable.

    Parameters
    ----------
    weights : (n,) float64
        ≥ 0.
    free : (n,) bool
        At least one is True.
    rng : numpy.random.Generator
    """
    weights = np.where(free, weights, 0.0)
    if np.isinf(weights).any() or not weights.any():
        weights = free.astype(np.float64)
    total = np.cumsum(weights)
    at = int(np.searchsorted(total, rng.random() * total[-1], side="right"))
    # Rounding can place the draw behind the last row with a positive weight.
    return min(at, int(np.flatnonzero(weights)[-1]))


def _lower(
    points: Points,
    centered: Points,
    norms: NDArray[np.float32],
    at: int,
    sq_distances: NDArray[np.float64],
    threads: int | None,
) -> None:
    """Lower `sq_distances` (n,), in place, to the exact squared distance from row `at` where that is less."""
    target, norm = -2 * centered[at], norms[at]

    def near(rows: NDArray[np.float32], own: NDArray[np.float32], least: NDArray[np.float64]) -> NDArray[np.int16]:
        # OpenBLAS may set the flag for invalid values although all are finite (seen once, with AVX-512). A row with NaN
        # would be measured exactly.
        with np.errstate(invalid="ignore"):
            rough = rows @ target + own + norm
        reach = np.sqrt(own) + np.sqrt(norm)
        candidates = np.flatnonzero(~(rough - product_error(rows.shape[1], reach) >= least) & (least > 0))
        return candidates.astype(np.int16)

    rows = joined(map_rows(near, centered, norms, sq_distances, block=ROWS, threads=threads), ROWS)
    exact = map_rows(partial(squared_distances, b=points[at]), view(points, rows), block=ROWS, threads=threads)
    sq_distances[rows] = np.minimum(sq_distances[rows], np.concatenate([np.empty(0), *exact]))
