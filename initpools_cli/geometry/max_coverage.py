"""Greedy maximum coverage by balls of one radius around points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.chunked import map_blocks, reduce_pairs
from initpools_cli.geometry.distances import Indices, center_if_distant, product_error, squared_distances
from initpools_cli.geometry.matmul import product

# Block sizes: a block of pairs fits the cache.
ROWS, COLUMNS = 512, 1024
# Numbers gathered at once for exact distances.
GATHERED = 2**20


class Balls:
    """Balls of one radius (distance < radius) around every row of `points`; pairs are not stored.

    Parameters
    ----------
    points : (n, d) float32
    radius : float
        > 0.
    threads : int, optional
    """

    def __init__(self, points: NDArray[np.float32], radius: float, threads: int | None = None) -> None:
        self.points, self.limit, self.threads = points, radius * radius, threads
        self.rows, squares, _ = center_if_distant(points, threads)
        self.squares = squares.astype(np.float32)
        self.lengths = np.sqrt(self.squares)

    def sizes(self) -> Indices:
        """Count the rows in each ball, its center included, (n,) int64."""

        def both(rows: slice, others: slice) -> tuple[Indices, Indices]:
            inside = self._inside(rows, others)
            return np.count_nonzero(inside, axis=1), np.count_nonzero(inside, axis=0)

        return reduce_pairs(both, len(self.points), ROWS, threads=self.threads).astype(np.int64)

    def any_contains_other(self) -> bool:
        """Return whether any ball contains a row besides its center."""
        n = len(self.points)
        for start in range(0, n, ROWS):
            rows = np.arange(start, min(start + ROWS, n))
            if self.count(rows).sum() > len(rows):
                return True
        return False

    def count(self, rows: Indices) -> Indices:
        """Count how many of `rows` lie in the ball around each point, (n,) int64."""
        counts = np.zeros(len(self.points), np.int64)

        def tally(span: slice) -> None:
            for start in range(0, len(rows), COLUMNS):
                counts[span] += np.count_nonzero(self._inside(span, rows[start : start + COLUMNS]), axis=1)

        map_blocks(tally, len(counts), ROWS, self.threads)
        return counts

    def around(self, row: int) -> Indices:
        """Return the rows in the ball around `row`, ascending."""
        one = np.array([row])
        parts = map_blocks(lambda span: self._inside(span, one)[:, 0], len(self.points), ROWS, self.threads)
        return np.flatnonzero(np.concatenate(parts))

    def _inside(self, rows: slice, others: Indices | slice) -> NDArray[np.bool_]:
        """Return whether each of `rows` is within the radius of each of `others`.

        Pairs that float32 cannot decide are computed in float64.
        """
        rough = product(self.rows[rows], -2 * self.rows[others].T)
        rough += self.squares[others]
        border = np.float32(self.limit) - self.squares[rows, None]
        slack = product_error(self.points.shape[1], self.lengths[rows].max() + self.lengths[others].max())
        inside = rough < border
        unclear = rough <= border + slack
        unclear &= rough >= border - slack
        row, column = np.divmod(np.flatnonzero(unclear), unclear.shape[1])
        step = max(1, GATHERED // self.points.shape[1])
        near = self.points[others]
        for start in range(0, len(row), step):
            pairs = slice(start, start + step)
            gaps = squared_distances(self.points[rows.start + row[pairs]], near[column[pairs]])
            inside[row[pairs], column[pairs]] = gaps < self.limit
        return inside


def greedy_cover(
    points: NDArray[np.float32],
    radius: float,
    count: int,
    earlier_picks: Indices,
    threads: int | None = None,
    targets: NDArray[np.bool_] | None = None,
    candidates: NDArray[np.bool_] | None = None,
) -> tuple[Indices, Indices]:
    """Choose rows greedily so that each ball (distance < radius) covers the most uncovered rows, until all are covered.

    The rows in all balls are counted once; when a row is covered, the counts of the balls that contain it decrease by
    one. Each row is covered once, so the whole costs at most one and a half passes over the pairs.

    Parameters
    ----------
    points : (n, d) float32
    radius : float
        > 0.
    count : int
        Maximum number of picks.
    earlier_picks : (m,) int64
        Rows that are chosen already: their balls cover rows from the start.
    threads : int, optional
    targets : (n,) bool, optional
        Rows to cover; default: all.
    candidates : (n,) bool, optional
        Rows that may be picked; default: all.

    Returns
    -------
    indices : (≤ count,) int64
        Fewer if no candidate covers another row; ties go to the lower index.
    gains : (≤ count,) int64
        Number of rows newly covered by each pick.
    """
    balls = Balls(points, radius, threads)
    new_counts = balls.sizes() if targets is None else balls.count(np.flatnonzero(targets))
    uncovered = np.ones(len(points), bool) if targets is None else targets.copy()
    forbidden = None if candidates is None else ~candidates

    def cover(row: int) -> int:
        new = balls.around(row)
        new = new[uncovered[new]]
        uncovered[new] = False
        np.subtract(new_counts, balls.count(new), out=new_counts)
        return len(new)

    for row in earlier_picks:
        cover(int(row))
    picks: list[int] = []
    gains: list[int] = []
    while len(picks) < count and uncovered.any():
        # An uncovered row covers at least itself, but may not be a candidate.
        best = int((new_counts if forbidden is None else np.where(forbidden, 0, new_counts)).argmax())
        if not new_counts[best] or (forbidden is not None and forbidden[best]):
            break
        picks.append(best)
        gains.append(cover(best))
    return np.array(picks, np.int64), np.array(gains, np.int64)
