"""Nearest-enemy distances: from each row to the nearest row with another label."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.chunked import map_blocks, reduce_pairs
from initpools_cli.geometry.distances import Indices, center_if_distant, product_error, squared_distances
from initpools_cli.geometry.matmul import product

# Block sizes: a block of products fits the cache.
ROWS, FEW = 512, 64


def enemy_distance(points: NDArray[np.float32], labels: Indices, rank: int, threads: int | None = None) -> float:
    """Compute the order statistic `rank` of the nearest-enemy distances, exactly.

    Each pair is computed once in float32; the few rows that could have this rank are recomputed in float64.

    Parameters
    ----------
    points : (n, d) float32
    labels : (n,) int64
    rank : int
        0 ≤ rank < n.
    threads : int, optional

    Returns
    -------
    float
        Euclidean; inf if all labels are equal.
    """
    close, squares, _ = center_if_distant(points, threads)
    norms = squares.astype(np.float32)

    def both(rows: slice, others: slice) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        rough = product(close[rows], -2 * close[others].T)
        rough += norms[rows, None]
        rough += norms[others]
        np.copyto(rough, np.inf, where=labels[rows, None] == labels[others])
        return rough.min(axis=1), rough.min(axis=0)

    rough = reduce_pairs(both, len(points), ROWS, np.minimum, threads)
    if np.isinf(rough).all():
        return np.inf
    # A row within √r of another is at most √r longer than it.
    slack = product_error(points.shape[1], (2 * np.sqrt(squares) + np.sqrt(np.maximum(rough, 0))).astype(np.float32))
    low, high = rough - 2 * slack, rough + 2 * slack
    least, most = np.partition(low, rank)[rank], np.partition(high, rank)[rank]
    contenders = np.flatnonzero((high >= least) & (low <= most))
    exact = np.concatenate(
        map_blocks(lambda span: _enemy_distances(points, labels, contenders[span]), len(contenders), FEW, threads)
    )
    sq_distances = np.sort(exact)[rank - np.count_nonzero(high < least)]
    return float(np.sqrt(sq_distances))


def _enemy_distances(points: NDArray[np.float32], labels: Indices, rows: Indices) -> NDArray[np.float64]:
    """Compute the squared distances of `rows` to the nearest row with another label."""
    queries = points[rows].astype(np.float64)
    best, at = np.full(len(rows), np.inf), np.zeros(len(rows), np.int64)
    for start in range(0, len(points), ROWS):
        block = points[start : start + ROWS].astype(np.float64)
        gaps = queries @ (-2 * block.T)
        gaps += np.einsum("ij,ij->i", block, block)
        gaps[labels[rows, None] == labels[start : start + ROWS]] = np.inf
        nearer = gaps.min(axis=1) < best
        best[nearer], at[nearer] = gaps.min(axis=1)[nearer], start + gaps.argmin(axis=1)[nearer]
    return squared_distances(points[rows], points[at])
