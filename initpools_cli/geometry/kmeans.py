"""k-means with the same clusters for the same seed and any number of threads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.distances import Indices, center_if_distant, distances_to, mean_row, squared_distances
from initpools_cli.geometry.matmul import product
from initpools_cli.geometry.neighbors import nearest_squared
from initpools_cli.geometry.rows import Points, map_rows, view
from initpools_cli.geometry.sampling import distance_weighted
from initpools_cli.geometry.segment_sum import sums_by_label

ROWS = 512
SEEDING_ROWS_PER_CLUSTER = 20


@dataclass(frozen=True)
class Clusters:
    """Partition of n points into k clusters.

    Attributes
    ----------
    centroids : (k, d) float32
    labels : (n,) int64
        The nearest centroid; ties go to the lower. With fewer than k distinct points some clusters are empty.
    inertia : float
        Sum of the squared distances of points to their centroids, weighted if points have weights.
    """

    centroids: NDArray[np.float32]
    labels: Indices
    inertia: float


def kmeans(
    points: Points,
    k: int,
    rng: np.random.Generator,
    *,
    iterations: int = 25,
    tolerance: float = 1e-4,
    threads: int | None = None,
    weights: NDArray[np.float64] | None = None,
) -> Clusters:
    """Cluster points by Lloyd's algorithm with k-means++ initialization (Arthur & Vassilvitskii 2007).

    The initial centroids are drawn from a sample of 20 rows per cluster, or from all rows if these have weights; the
    centroid of an empty cluster moves to the point farthest from its own centroid.

    Parameters
    ----------
    points : (n, d) float32, or Rows
    k : int
        1 ≤ k ≤ n.
    rng : numpy.random.Generator
    iterations : int
        Maximum.
    tolerance : float
        Stop when the squared shift of the centroids is below this share of the mean variance of a dimension.
    threads : int, optional
    weights : (n,) float64, optional
        > 0: a point counts as this many points.

    Returns
    -------
    Clusters
    """
    n = len(points)
    if not 1 <= k <= n:
        raise ValueError(f"k={k} must be ≥ 1 and ≤ n={n}")
    sample = points
    if weights is None:
        rows = np.sort(rng.choice(n, min(n, SEEDING_ROWS_PER_CLUSTER * k), replace=False))
        sample = np.ascontiguousarray(points[rows])
    seeds = distance_weighted(sample, k, rng, np.empty(0, np.int64), threads, weights)[0]
    centroids = sample[seeds].astype(np.float64)
    mean = mean_row(points, threads)
    still = tolerance * float(distances_to(points, mean, threads).sum()) / points.size
    lloyd = _Lloyd(points, centroids, threads, weights)
    for _ in range(iterations):
        if lloyd.step() <= still:
            break
    final = lloyd.centroids.astype(np.float32)
    labels, sq_distances = nearest_squared(points, final, None, threads)
    return Clusters(final, labels, float((sq_distances if weights is None else weights * sq_distances).sum()))


class _Lloyd:
    """Lloyd's iterations that update only rows whose nearest centroid may have changed (Hamerly 2010).

    Attributes
    ----------
    centroids : (k, d) float64
    """

    def __init__(
        self,
        points: Points,
        centroids: NDArray[np.float64],
        threads: int | None,
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        self.points, self.centroids, self.threads, self.weights = points, centroids, threads, weights
        # With a nearby origin the products are small, so that float32 is precise enough.
        self.rows, self.squares, self.origin = center_if_distant(points, threads)
        self.labels = np.zeros(len(points), np.int64)
        # Lower bound on how much farther the second nearest centroid is than the nearest.
        self.lead = np.full(len(points), -1.0)
        self.sums = np.zeros(centroids.shape)
        self.counts = np.zeros(len(centroids), np.int64)

    def step(self) -> float:
        """Move the centroids to the means of their nearest points; return the squared shift."""
        stale = np.flatnonzero(self.lead <= 0)
        new = self._assign(stale)
        self._update(stale, new)
        centroids, nonempty = self.centroids.copy(), self.counts > 0
        sizes = self.counts if self.weights is None else self._weight_sums()
        centroids[nonempty] = self.sums[nonempty] / sizes[nonempty, None]
        empty = np.flatnonzero(~nonempty)
        if len(empty):
            centroids[empty] = self.points[self._farthest(len(empty))]
        shifts = np.sqrt(squared_distances(centroids, self.centroids))
        self.lead -= shifts[self.labels] + shifts.max()
        self.centroids = centroids
        return float((shifts**2).sum())

    def _assign(self, stale: Indices) -> Indices:
        """Return the nearest centroids of `stale` rows and update their leads."""
        targets = (self.centroids - self.origin).astype(np.float32)
        norms = np.einsum("ij,ij->i", targets, targets)
        products_with = np.ascontiguousarray(-2 * targets.T)

        def assign(
            rows: NDArray[np.float32], squares: NDArray[np.float64]
        ) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
            products = product(rows, products_with)
            products += norms
            nearest = products.argmin(axis=1)
            each = np.arange(len(nearest))
            own = products[each, nearest] + squares
            products[each, nearest] = np.inf
            second = products.min(axis=1) + squares
            return nearest.astype(np.int32), np.sqrt(np.maximum(second, 0)) - np.sqrt(np.maximum(own, 0))

        rows = view(self.rows, stale)
        parts = map_rows(assign, rows, self.squares[stale], block=ROWS, threads=self.threads)
        self.lead[stale] = np.concatenate([np.empty(0), *(lead for _, lead in parts)])
        return np.concatenate([np.empty(0, np.int64), *(nearest for nearest, _ in parts)])

    def _update(self, stale: Indices, new: Indices) -> None:
        """Assign `stale` rows to the clusters `new`, and update the sums of the clusters."""
        if self.weights is not None:
            # Weights differ by many orders of magnitude: small ones would be lost in differences of sums.
            self.labels[stale] = new
            k, rows = len(self.centroids), slice(None)
            self.sums = sums_by_label(self.points, rows, self.labels, self.weights, k, self.threads)
            self.counts = np.bincount(self.labels, minlength=k)
            return
        first = not self.counts.any()
        moves = np.ones(len(stale), bool) if first else new != self.labels[stale]
        self._add(stale[moves], new[moves], 1.0)
        if not first:
            self._add(stale[moves], self.labels[stale[moves]], -1.0)
        self.labels[stale] = new

    def _weight_sums(self) -> NDArray[np.float64]:
        """Sum the weights of each cluster, (k,)."""
        return np.asarray(np.bincount(self.labels, self.weights, len(self.centroids)), np.float64)

    def _add(self, rows: Indices, labels: Indices, sign: float) -> None:
        """Add rows to the sums of their clusters (sign 1), or subtract them (−1)."""
        k, weights = len(self.centroids), np.full(len(rows), sign)
        self.sums += sums_by_label(self.points, rows, labels, weights, k, self.threads)
        self.counts += np.bincount(labels, minlength=k) * int(sign)

    def _farthest(self, count: int) -> Indices:
        """Return the `count` rows farthest from their own centroids."""
        centroids = self.centroids

        def distances(rows: NDArray[np.float32], labels: Indices) -> NDArray[np.float64]:
            return squared_distances(rows, centroids[labels])

        gaps = map_rows(distances, self.points, self.labels, block=ROWS, threads=self.threads)
        return np.argsort(-np.concatenate(gaps), kind="stable")[:count]
