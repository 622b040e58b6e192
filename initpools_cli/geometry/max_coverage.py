"""Balls of one radius around every point: who lies in them, and covering as much as possible with few of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.chunked import map_blocks, over_pairs
from initpools_cli.geometry.distances import Indices, close_up, product_error, squared_distances
from initpools_cli.geometry.matmul import product

# A block of pairs fits the cache.
ROWS, COLUMNS = 512, 1024
# Pairs measured at once are gathered, so that few numbers are held.
GATHERED = 2**20


class Balls:
    """Balls of one radius (distance < radius) around every row of `points`; no pair is stored.

    Parameters
    ----------
    points : (n, d) float32
    radius : float
        > 0.
    threads : int, optional
    """

    def __init__(self, points: NDArray[np.float32], radius: float, threads: int | None = None) -> None:
        self.points, self.limit, self.threads = points, radius * radius, threads
        self.rows, squares, _ = close_up(points, threads)
        self.squares = squares.astype(np.float32)
        self.lengths = np.sqrt(self.squares)

    def sizes(self) -> Indices:
        """How many rows lie in each ball, its center included, (n,) int64."""

        def both(rows: slice, others: slice) -> tuple[Indices, Indices]:
            inside = self._inside(rows, others)
            return np.count_nonzero(inside, axis=1), np.count_nonzero(inside, axis=0)

        return over_pairs(both, len(self.points), ROWS, threads=self.threads).astype(np.int64)

    def hold_others(self) -> bool:
        """Whether any ball holds more than its center."""
        n = len(self.points)
        for start in range(0, n, ROWS):
            rows = np.arange(start, min(start + ROWS, n))
            if self.count(rows).sum() > len(rows):
                return True
        return False

    def count(self, rows: Indices) -> Indices:
        """How many of `rows` lie in the ball around each point, (n,) int64."""
        held = np.zeros(len(self.points), np.int64)

        def tally(span: slice) -> None:
            for start in range(0, len(rows), COLUMNS):
                held[span] += np.count_nonzero(self._inside(span, rows[start : start + COLUMNS]), axis=1)

        map_blocks(tally, len(held), ROWS, self.threads)
        return held

    def around(self, row: int) -> Indices:
        """The rows in the ball around one, ascending."""
        one = np.array([row])
        parts = map_blocks(lambda span: self._inside(span, one)[:, 0], len(self.points), ROWS, self.threads)
        return np.flatnonzero(np.concatenate(parts))

    def _inside(self, rows: slice, others: Indices | slice) -> NDArray[np.bool_]:
        """For each of `rows` and each of `others`; pairs that float32 leaves open are measured in float64."""
        rough = product(self.rows[rows], -2 * self.rows[others].T)
        rough += self.squares[others]
        border = np.float32(self.limit) - self.squares[rows, None]
        slack = product_error(self.points.shape[1], self.lengths[rows].max() + self.lengths[others].max())
        inside = rough < border
        open_ = rough <= border + slack
        open_ &= rough >= border - slack
        row, column = np.divmod(np.flatnonzero(open_), open_.shape[1])
        step = max(1, GATHERED // self.points.shape[1])
        near = self.points[others]
        for start in range(0, len(row), step):
            pairs = slice(start, start + step)
            gaps = squared_distances(self.points[rows.start + row[pairs]], near[column[pairs]])
            inside[row[pairs], column[pairs]] = gaps < self.limit
        return inside


def greedy_cover(
    points: NDArray[np.float32], radius: float, count: int, chosen: Indices, threads: int | None = None
) -> tuple[Indices, Indices]:
    """Choose rows whose balls (distance < radius) hold the most rows that no ball before holds, until all are held.

    The numbers of rows in all balls are counted once; when a row is covered, the balls that hold it lose one. Each row
    is covered once, so that all of it costs at most one and a half passes over the pairs.

    Parameters
    ----------
    points : (n, d) float32
    radius : float
        > 0.
    count : int
        At most so many picks.
    chosen : (m,) int64
        Rows whose balls are there from the start.
    threads : int, optional

    Returns
    -------
    indices : (≤ count,) int64
        Fewer where everything is covered before; ties go to the lower index.
    gains : (≤ count,) int64
        How many rows each covers first.
    """
    balls = Balls(points, radius, threads)
    left = balls.sizes()
    uncovered = np.ones(len(points), bool)

    def cover(row: int) -> int:
        new = balls.around(row)
        new = new[uncovered[new]]
        uncovered[new] = False
        np.subtract(left, balls.count(new), out=left)
        return len(new)

    for row in chosen:
        cover(int(row))
    picks: list[int] = []
    gains: list[int] = []
    # An uncovered row covers itself at least, so a gain of 0 means that nothing is left.
    while len(picks) < count and uncovered.any():
        picks.append(int(left.argmax()))
        gains.append(cover(picks[-1]))
    return np.array(picks, np.int64), np.array(gains, np.int64)
