"""Exact farthest-first traversal with few passes over the data."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.distances import (
    Indices,
    center_if_distant,
    distances_to,
    mean_row,
    product_error,
    squared_distances,
)
from initpools_cli.geometry.matmul import product
from initpools_cli.geometry.neighbors import nearest_squared
from initpools_cli.geometry.rows import Points, joined, map_rows

# A block of products fits the cache.
ROWS, COLUMNS = 1024, 512


def nearest_to_mean(points: Points, threads: int | None = None) -> int:
    """Find the row nearest the mean of all rows; ties go to the lowest row."""
    return int(distances_to(points, mean_row(points, threads), threads).argmin())


def farthest_first(
    points: Points, count: int, earlier_picks: Indices, threads: int | None = None
) -> tuple[Indices, NDArray[np.float64]]:
    """Choose `count` rows, each the farthest from all chosen before it (Gonzalez 1985).

    Distances to the nearest pick only shrink, so an old distance is an upper bound, and so is one in float32 plus its
    rounding error. A candidate set holds the rows with the largest bounds; their distances are kept exact in float64,
    and a pick is certain while it beats every bound outside the set. After that the bounds of all rows are lowered
    with the whole batch of picks at once.

    Parameters
    ----------
    points : (n, d) float32, or Rows
    count : int
        1 ≤ count ≤ n − len(chosen).
    earlier_picks : (m,) int64
        Rows that are chosen already. If empty, the first pick is the row nearest the mean.
    threads : int, optional

    Returns
    -------
    indices : (count,) int64
        Distinct, none of them in `earlier_picks`; ties go to the lower index.
    gaps : (count,) float64
        Squared distance to the nearest row chosen before; inf for the very first.
    """
    picks: list[int] = []
    gaps: list[float] = []
    if not len(earlier_picks):
        picks.append(nearest_to_mean(points, threads))
        gaps.append(np.inf)
    all_picks = np.concatenate([earlier_picks, np.array(picks, np.int64)])
    bounds = _Bounds(points, threads)
    bounds.lower(all_picks)
    size = int(np.clip(2**18 // points.shape[1], 256, 8192))
    while len(picks) < count:
        candidates, outside, rival = _top(bounds.sq_distances, size)
        bounds.measure(candidates, all_picks)
        nearby = points[candidates].astype(np.float64)
        distances = bounds.sq_distances[candidates]
        batch = []
        while len(picks) < count:
            best = int(distances.argmax())
            value = distances[best]
            if value < 0 or (value, -candidates[best]) < (outside, -rival):
                break
            picks.append(int(candidates[best]))
            gaps.append(float(value))
            batch.append(picks[-1])
            np.minimum(distances, squared_distances(nearby, nearby[best]), out=distances)
            distances[best] = -1.0
        all_picks = np.concatenate([all_picks, np.array(batch, np.int64)])
        bounds.sq_distances[candidates] = distances
        if batch and len(picks) < count:
            bounds.lower(np.array(batch))
            bounds.exact[candidates] = True
        elif not batch:
            # The bounds do not separate the farthest row: more rows need exact distances.
            size *= 2
    return np.array(picks, np.int64), np.array(gaps)


class _Bounds:
    """Upper bounds on the squared distance of each row to the nearest chosen row; negative for chosen rows.

    Attributes
    ----------
    sq_distances : (n,) float64
    exact : (n,) bool
        Whether the bound is the distance itself.
    """

    def __init__(self, points: Points, threads: int | None) -> None:
        self.points, self.threads = points, threads
        self.rows, self.norms, _ = center_if_distant(points, threads)
        self.sq_distances = np.full(len(points), np.inf)
        self.exact = np.zeros(len(points), bool)

    def lower(self, picks: Indices) -> None:
        """Lower the bounds by newly chosen rows."""
        for start in range(0, len(picks), COLUMNS):
            self._lower(picks[start : start + COLUMNS])
        self.sq_distances[picks] = -1.0

    def measure(self, rows: Indices, picks: Indices) -> None:
        """Make the bounds of `rows` exact; `picks` has all rows chosen so far."""
        stale = rows[~self.exact[rows] & (self.sq_distances[rows] >= 0)]
        self.sq_distances[stale] = nearest_squared(self.points[stale], self.points[picks], None, self.threads)[1]
        self.exact[stale] = True

    def _lower(self, picks: Indices) -> None:
        right = -2 * self.rows[picks].T
        norms, lengths = (each.astype(np.float32) for each in (self.norms[picks], np.sqrt(self.norms[picks])))

        def lower(
            rows: NDArray[np.float32], own: NDArray[np.float64], before: NDArray[np.float64]
        ) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
            rough = product(rows, right)
            rough += norms
            nearest = rough.argmin(axis=1)
            least = rough[np.arange(len(rough)), nearest] + own
            d, length = rows.shape[1], np.sqrt(own).astype(np.float32)
            near = np.flatnonzero(least - product_error(d, length + lengths.max()) < before)
            return near.astype(np.int16), least[near] + product_error(d, length[near] + lengths[nearest[near]])

        # From other processes only what may be lower comes back.
        parts = map_rows(lower, self.rows, self.norms, self.sq_distances, block=ROWS, threads=self.threads)
        near = joined([rows for rows, _ in parts], ROWS)
        self.exact[near] = False
        self.sq_distances[near] = np.minimum(self.sq_distances[near], np.concatenate([above for _, above in parts]))


def _top(bounds: NDArray[np.float64], size: int) -> tuple[Indices, float, int]:
    """Return the rows with the `size` largest bounds, ties to the lower row, and the largest bound left out.

    Returns
    -------
    candidates : (size,) int64, ascending
    outside : float
        -1 if no row is left out.
    rival : int
        The lowest row left out with the bound `outside`.
    """
    if size >= len(bounds):
        return np.arange(len(bounds)), -1.0, len(bounds)
    level = np.partition(bounds, -size)[-size]
    above, equal = np.flatnonzero(bounds > level), np.flatnonzero(bounds == level)
    inside = size - len(above)
    candidates = np.sort(np.concatenate([above, equal[:inside]]))
    if inside < len(equal):
        return candidates, float(level), int(equal[inside])
    others = np.where(bounds < level, bounds, -1.0)
    return candidates, float(others.max()), int(others.argmax())
