"""Balls of one radius around every point: who lies in them, and covering as much as possible with few of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.blocks import map_blocks
from initpools_cli.geometry.neighbors import Indices, mean_row, product_error, squared_distances

ROWS = 2048
COLUMNS = 1024
# Pairs measured at once are gathered, so that few numbers are held.
GATHERED = 2**20


def greedy_cover(
    points: NDArray[np.float32], radius: float, count: int, chosen: Indices, threads: int | None = None
) -> tuple[Indices, Indices, Indices]:
    """Choose rows whose balls (distance < radius) hold the most rows that no ball before holds, until all are held.

    No pair is stored. The numbers of rows in all balls are counted once; when a row is covered, the balls that hold it
    lose one. Each row is covered once, so that all of it costs two passes over the pairs.

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
    sizes : (n,) int64
        Of all balls, their centres included.
    """
    n = len(points)
    centred = np.subtract(points, mean_row(points, threads).astype(np.float32), dtype=np.float32)
    lengths = np.sqrt(np.einsum("ij,ij->i", centred, centred))

    def count_held(rows: Indices) -> Indices:
        """How many of `rows` lie in the ball around each point."""
        held = np.zeros(n, np.int64)
        for start in range(0, len(rows), COLUMNS):
            part = rows[start : start + COLUMNS]

            def tally(span: slice, part: Indices = part) -> None:
                held[span] += np.count_nonzero(_within(points, centred, lengths, span, part, radius), axis=1)

            map_blocks(tally, n, ROWS, threads)
        return held

    def ball(row: int) -> Indices:
        near = map_blocks(
            lambda span: _within(points, centred, lengths, span, np.array([row]), radius)[:, 0], n, ROWS, threads
        )
        return np.flatnonzero(np.concatenate(near))

    sizes = count_held(np.arange(n))
    left = sizes.copy()
    uncovered = np.ones(n, bool)

    def cover(row: int) -> int:
        new = ball(row)
        new = new[uncovered[new]]
        uncovered[new] = False
        np.subtract(left, count_held(new), out=left)
        return len(new)

    for row in chosen:
        cover(int(row))
    picks: list[int] = []
    gains: list[int] = []
    # An uncovered row covers itself at least, so a gain of 0 means that nothing is left.
    while len(picks) < count and uncovered.any():
        picks.append(int(left.argmax()))
        gains.append(cover(picks[-1]))
    return np.array(picks, np.int64), np.array(gains, np.int64), sizes


def _within(
    points: NDArray[np.float32],
    centred: NDArray[np.float32],
    lengths: NDArray[np.float32],
    span: slice,
    rows: Indices,
    radius: float,
) -> NDArray[np.bool_]:
    """Which of `rows` are nearer than the radius to each point of the span, (len(span), len(rows)).

    Pairs that rounding leaves open are measured by differences in float64.
    """
    limit = radius * radius
    own, other = lengths[span, None], lengths[rows]
    rough = centred[span] @ (-2 * centred[rows].T)
    rough += own**2
    rough += other**2
    slack = product_error(points.shape[1], lengths[span].max() + other.max())
    inside = rough < limit
    row, column = np.nonzero(np.abs(rough - np.float64(limit)) <= slack)
    for start in range(0, len(row), max(1, GATHERED // points.shape[1])):
        pairs = slice(start, start + max(1, GATHERED // points.shape[1]))
        gaps = squared_distances(points[span.start + row[pairs]], points[rows[column[pairs]]])
        inside[row[pairs], column[pairs]] = gaps < limit
    return inside
