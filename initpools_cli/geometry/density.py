"""Typicality: local density of points by their nearest neighbors."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.distances import Indices, center_if_distant, product_error
from initpools_cli.geometry.knn import each_neighborhood
from initpools_cli.geometry.neighbors import search

# Keeps the density of duplicates finite.
EPSILON = 1e-5
# Up to this many rows, all pairs are held in memory at once.
SMALL = 2048


def typicality(
    points: NDArray[np.float32],
    neighbors: int,
    distance: Literal["l2", "l2sq"] = "l2",
    probes: int = 0,
    threads: int | None = None,
) -> NDArray[np.float64]:
    """Compute 1 / (mean distance to the nearest points + 1e-5); Hacohen, Dekel & Weinshall 2022, arXiv:2202.02794.

    Parameters
    ----------
    points : (m, d) float32
    neighbors : int
        Number of neighbors averaged; capped at m // 2, at least 1.
    distance : {"l2", "l2sq"}
        Euclidean as in the paper, or squared as in its code.
    probes : int
        As for `knn.knn`.
    threads : int, optional

    Returns
    -------
    (m,) float64
        0 for a single point.
    """
    m = len(points)
    if m == 1:
        return np.zeros(1)
    values = np.empty(m)

    def take(rows: Indices | slice, _: Indices, sq_distances: NDArray[np.float64]) -> None:
        gaps = sq_distances if distance == "l2sq" else np.sqrt(sq_distances)
        values[rows] = 1 / (gaps.mean(axis=1) + EPSILON)

    each_neighborhood(points, min(neighbors, max(1, m // 2)), take, probes=probes, threads=threads)
    return values


def most_typical(
    points: NDArray[np.float32], neighbors: int, distance: Literal["l2", "l2sq"] = "l2", probes: int = 0
) -> tuple[int, float]:
    """Find the row with the largest `typicality` and its value, on one thread; ties go to the lowest row.

    Bounds of all rows are computed in float32; only rows that may be the most typical are computed in float64.

    Parameters
    ----------
    points, neighbors, distance
        As for `typicality`.
    probes : int
        The same for more than `SMALL` rows; fewer are searched exactly.
    """
    m = len(points)
    if not 1 < m <= SMALL:
        values = typicality(points, neighbors, distance, probes if m > SMALL else 0, threads=1)
        return int(values.argmax()), float(values.max())
    k = min(neighbors, max(1, m // 2))
    close, squares, origin = center_if_distant(points, 1)
    rough = close @ (-2 * close.T)
    rough += squares.astype(np.float32)
    rough += squares.astype(np.float32)[:, None]
    np.fill_diagonal(rough, np.inf)
    nearest = np.partition(rough, k - 1, axis=1)[:, :k]
    lengths = np.sqrt(squares).astype(np.float32)
    slack = 2 * product_error(points.shape[1], lengths + lengths.max())[:, None]
    least, most = np.maximum(nearest - slack, 0), np.maximum(nearest + slack, 0)
    if distance == "l2":
        least, most = np.sqrt(least), np.sqrt(most)
    contenders = np.flatnonzero(least.mean(axis=1) <= most.mean(axis=1).min())
    gaps = search(points[contenders], points, k, origin, np.full(len(contenders), np.inf), contenders)[1]
    values = 1 / ((gaps if distance == "l2sq" else np.sqrt(gaps)).mean(axis=1) + EPSILON)
    return int(contenders[values.argmax()]), float(values.max())
