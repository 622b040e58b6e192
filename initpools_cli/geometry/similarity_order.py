"""An order of images in which similar ones are near each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.kmeans import kmeans

#: Rows of one tree; more are first divided into clusters of about this size.
TREE_ROWS = 1000


def similarity_order(points: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.int64]:
    """Order points so that neighbors in the order are similar: the leaves of a tree of average linkage.

    More than `TREE_ROWS` points are divided by k-means; the clusters follow each other in the order of a tree of their
    centroids, and each has a tree of its own.

    Parameters
    ----------
    points : (n, d) float32
        Unit vectors, so that Euclidean distances rank pairs as cosines do.
    rng : numpy.random.Generator
        Draws the initial centroids.

    Returns
    -------
    (n,) int64
        A permutation of the rows.
    """
    if len(points) <= TREE_ROWS:
        return _leaves(points)
    clusters = kmeans(points, -(-len(points) // TREE_ROWS), rng, iterations=10)
    parts = []
    for cluster in _leaves(clusters.centroids):
        rows = np.flatnonzero(clusters.labels == cluster)
        # A cluster can be much larger than the average.
        parts += [rows[at : at + 4 * TREE_ROWS] for at in range(0, len(rows), 4 * TREE_ROWS)]
    return np.concatenate([rows[_leaves(points[rows])] for rows in parts])


def _leaves(points: NDArray[np.float32]) -> NDArray[np.int64]:
    from scipy.cluster.hierarchy import leaves_list, linkage

    if len(points) < 2:
        return np.arange(len(points))
    return leaves_list(linkage(points, "average")).astype(np.int64)
