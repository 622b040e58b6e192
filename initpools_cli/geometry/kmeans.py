"""k-means that gives the same clusters for the same seed, whatever the number of threads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.blocks import map_blocks
from initpools_cli.geometry.neighbors import Indices, distances_to, mean_row, nearest_squared
from initpools_cli.geometry.sampling import distance_weighted

ROWS = 2048
SEEDING_ROWS_PER_CLUSTER = 100


@dataclass(frozen=True)
class Clusters:
    """A partition of n points.

    Attributes
    ----------
    centroids : (k, d) float32
    labels : (n,) int64
        The nearest centroid; of equally near ones the lower. Fewer than k different points leave clusters empty.
    inertia : float
        Sum of the squared distances to the own centroid.
    """

    centroids: NDArray[np.float32]
    labels: Indices
    inertia: float


def kmeans(
    points: NDArray[np.float32],
    k: int,
    rng: np.random.Generator,
    *,
    iterations: int = 50,
    tolerance: float = 1e-4,
    threads: int | None = None,
) -> Clusters:
    """Lloyd's algorithm from a k-means++ start.

    Arthur & Vassilvitskii 2007. The start is drawn on a sample of 100 rows per cluster; an empty cluster moves to the
    point that is farthest from its centroid.

    Parameters
    ----------
    points : (n, d) float32
    k : int
        1 ≤ k ≤ n.
    rng : numpy.random.Generator
    iterations : int
        At most so many.
    tolerance : float
        Done when the centroids move by less, squared, as a share of the mean variance of a dimension.
    threads : int, optional

    Returns
    -------
    Clusters
    """
    n = len(points)
    if not 1 <= k <= n:
        raise ValueError(f"k={k} must be ≥ 1 and ≤ n={n}")
    drawn = np.sort(rng.choice(n, min(n, SEEDING_ROWS_PER_CLUSTER * k), replace=False))
    sample = np.ascontiguousarray(points[drawn])
    seeds = distance_weighted(sample, k, rng, np.empty(0, np.int64), threads)[0]
    centroids = sample[seeds].astype(np.float64)
    shift = mean_row(points, threads)
    still = tolerance * _mean_variance(points, shift, threads)
    for _ in range(iterations):
        moved = _lloyd_step(points, centroids, shift, threads)
        movement = float(((moved - centroids) ** 2).sum())
        centroids = moved
        if movement <= still:
            break
    final = centroids.astype(np.float32)
    labels, squared = nearest_squared(points, final, None, threads)
    return Clusters(final, labels, float(squared.sum()))


def _mean_variance(points: NDArray[np.float32], mean: NDArray[np.float64], threads: int | None) -> float:
    return float(distances_to(points, mean, threads).sum()) / points.size


def _lloyd_step(
    points: NDArray[np.float32], centroids: NDArray[np.float64], shift: NDArray[np.float64], threads: int | None
) -> NDArray[np.float64]:
    """The means of the points that are nearest to each centroid, (k, d) float64."""
    from scipy.sparse import csr_array

    k = len(centroids)
    # Seen from the mean the products are small, and float32 is enough for them.
    origin = shift.astype(np.float32)
    centred = (centroids - origin).astype(np.float32)
    norms = np.einsum("ij,ij->i", centred, centred)

    def assign(span: slice) -> tuple[Indices, NDArray[np.float32], Any, Indices]:
        block = np.subtract(points[span], origin, dtype=np.float32)
        products = block @ (-2 * centred.T)
        products += norms
        labels = products.argmin(axis=1)
        rows = np.arange(len(labels))
        squared = products[rows, labels] + np.einsum("ij,ij->i", block, block)
        members = csr_array((np.ones(len(labels)), (labels, rows)), shape=(k, len(labels)))
        return labels, squared, members @ block.astype(np.float64), np.bincount(labels, minlength=k)

    parts = map_blocks(assign, len(points), ROWS, threads)
    sums = np.sum([part[2] for part in parts], axis=0)
    counts = np.sum([part[3] for part in parts], axis=0)
    moved = centroids.copy()
    filled = counts > 0
    moved[filled] = sums[filled] / counts[filled, None] + origin
    empty = np.flatnonzero(~filled)
    if len(empty):
        squared = np.concatenate([part[1] for part in parts])
        farthest = np.argsort(-squared, kind="stable")[: len(empty)]
        moved[empty] = points[farthest]
    return moved
