"""Farthest-first traversal, exact and far from n × budget passes over the data."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.chunked import map_blocks
from initpools_cli.geometry.distances import (
    Indices,
    close_up,
    distances_to,
    mean_row,
    product_error,
    squared_distances,
)
from initpools_cli.geometry.matmul import product
from initpools_cli.geometry.neighbors import nearest_squared

# A block of products fits the cache.
ROWS, COLUMNS = 1024, 512


def nearest_to_mean(points: NDArray[np.float32], threads: int | None = None) -> int:
    """The row nearest the mean of all rows; of equally near ones the lowest."""
    return int(distances_to(points, mean_row(points, threads), threads).argmin())


def farthest_first(
    points: NDArray[np.float32], count: int, chosen: Indices, threads: int | None = None
) -> tuple[Indices, NDArray[np.float64]]:
    """Choose `count` rows, each the farthest from all chosen before it (Gonzalez 1985).

    Distances only shrink, so an old one bounds the new one from above, and so does one in float32 with what rounding
    may add. A candidate set holds the rows with the largest bounds; within it distances are measured in float64 and
    kept up to date, and a pick is certain as long as it beats every bound outside. When it no longer does, the bounds
    of all rows are lowered against the whole batch of picks at once.

    Parameters
    ----------
    points : (n, d) float32
    count : int
        1 ≤ count ≤ n − len(chosen).
    chosen : (m,) int64
        Rows chosen before. Where there are none, the first pick is the row nearest the mean.
    threads : int, optional

    Returns
    -------
    indices : (count,) int64
        Distinct, none of them in `chosen`; ties go to the lower index.
    gaps : (count,) float64
        Squared distance to the nearest row chosen before; inf for the first of all.
    """
    picks: list[int] = []
    gaps: list[float] = []
    if not len(chosen):
        picks.append(nearest_to_mean(points, threads))
        gaps.append(np.inf)
    done = np.concatenate([chosen, np.array(picks, np.int64)])
    bounds = _Bounds(points, threads)
    bounds.lower(done)
    size = int(np.clip(2**18 // points.shape[1], 256, 8192))
    while len(picks) < count:
        candidates, outside, rival = _top(bounds.squared, size)
        bounds.measure(candidates, done)
        nearby = points[candidates].astype(np.float64)
        distances = bounds.squared[candidates]
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
        done = np.concatenate([done, np.array(batch, np.int64)])
        bounds.squared[candidates] = distances
        if batch and len(picks) < count:
            bounds.lower(np.array(batch))
            bounds.exact[candidates] = True
        elif not batch:
            # Rounding hides which is the farthest, and more have to be measured.
            size *= 2
    return np.array(picks, np.int64), np.array(gaps)


class _Bounds:
    """From above, the squared distance of each row to the nearest one chosen; below zero for a row that is chosen.

    Attributes
    ----------
    squared : (n,) float64
    exact : (n,) bool
        Where it is the distance itself.
    """

    def __init__(self, points: NDArray[np.float32], threads: int | None) -> None:
        self.points, self.threads = points, threads
        self.rows, self.norms, _ = close_up(points, threads)
        self.lengths = np.sqrt(self.norms).astype(np.float32)
        self.squared = np.full(len(points), np.inf)
        self.exact = np.zeros(len(points), bool)

    def lower(self, chosen: Indices) -> None:
        """Count these as chosen, too."""
        for start in range(0, len(chosen), COLUMNS):
            self._lower(chosen[start : start + COLUMNS])
        self.squared[chosen] = -1.0

    def measure(self, rows: Indices, chosen: Indices) -> None:
        """Make the bounds of these rows exact; `chosen` are all that are."""
        stale = rows[~self.exact[rows] & (self.squared[rows] >= 0)]
        self.squared[stale] = nearest_squared(self.points[stale], self.points[chosen], None, self.threads)[1]
        self.exact[stale] = True

    def _lower(self, chosen: Indices) -> None:
        right = -2 * self.rows[chosen].T
        norms, lengths = self.norms[chosen].astype(np.float32), self.lengths[chosen]

        def lower(span: slice) -> None:
            rough = product(self.rows[span], right)
            rough += norms
            nearest = rough.argmin(axis=1)
            least = rough[np.arange(len(rough)), nearest] + self.norms[span]
            d, own = self.points.shape[1], self.lengths[span]
            self.exact[span] &= least - product_error(d, own + lengths.max()) >= self.squared[span]
            above = least + product_error(d, own + lengths[nearest])
            np.minimum(self.squared[span], above, out=self.squared[span])

        map_blocks(lower, len(self.points), ROWS, self.threads)


def _top(bounds: NDArray[np.float64], size: int) -> tuple[Indices, float, int]:
    """The rows with the `size` largest bounds, lower ones first among equals, and the best bound left out.

    Returns
    -------
    candidates : (size,) int64, ascending
    outside : float
        -1 where nothing is left out.
    rival : int
        The lowest row left out that has the bound `outside`.
    """
    if size >= len(bounds):
        return np.arange(len(bounds)), -1.0, len(bounds)
    level = np.partition(bounds, -size)[-size]
    above, equal = np.flatnonzero(bounds > level), np.flatnonzero(bounds == level)
    inside = size - len(above)
    candidates = np.sort(np.concatenate([above, equal[:inside]]))
    if inside < len(equal):
        return candidates, float(level), int(equal[inside])
    left = np.where(bounds < level, bounds, -1.0)
    return candidates, float(left.max()), int(left.argmax())
