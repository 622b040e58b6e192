"""Strategy `hierarchical-kmeans`: equal random draws from clusters, and from the clusters of their centroids."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from initpools_cli.core.bounds import Count, PositiveCount
from initpools_cli.geometry.distances import squared_distances
from initpools_cli.geometry.kmeans import kmeans
from initpools_cli.geometry.neighbors import nearest_squared
from initpools_cli.geometry.rows import Points
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, ranks_within, unlabeled_rows

Indices = NDArray[np.int64]


@strategies.register(paper="Vo et al. 2024, arXiv:2405.15613", nested=True, cost="n d k", by_rows=True, factor=40.0)
def hierarchical_kmeans(
    embeddings: NDArray[np.float32],
    labeled: NDArray[np.int64],
    budget: int,
    rng: np.random.Generator,
    *,
    n_clusters: PositiveCount = 200,
    levels: Annotated[int, Field(ge=1, le=10)] = 2,
    branching: Annotated[int, Field(ge=2, le=1000)] = 10,
    resampling: Count = 10,
) -> Selection:
    """Draw random images evenly from k-means clusters, from the clusters of their centroids, and so on.

    k-means alone makes many clusters in dense regions. Here the images are clustered, then the centroids, then the
    centroids of these, which makes the clusters of the highest level more even over the data. At each level above the
    first, the centroids are clustered again `resampling` times, from those members of each cluster that are nearest to
    its center, half as many as a cluster has on average.

    The budget is divided over the clusters of the highest level as evenly as their sizes allow, each share over the
    clusters below in the same way, and images of the lowest clusters are drawn at random. Labeled images count as
    picks.

    Differences from the paper and its code:

    - Images are clustered once, where the paper resamples at every level, because resampling images would cost several
      times as much.
    - Numbers of clusters are a geometric sequence, and resampled members are half of a cluster's mean, where the paper
      sets each number.
    - What is left after an even division goes to the clusters with the fewest picks and then to the lowest, where the
      code draws among those that are not exhausted.

    Parameters
    ----------
    embeddings : (n, d) float32
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator
    n_clusters : int
        Clusters of the lowest level, at most one for each image.
    levels : int
        1 is `kmeans-random`, with labeled images that count as picks.
    branching : int
        Each level has this many times fewer clusters than the one below.
    resampling : int
        0 is hierarchical k-means without resampling.

    Returns
    -------
    Selection
        With clusters of the highest level.
    """
    sizes = [max(1, round(n_clusters / branching**level)) for level in range(levels)]
    tree = cluster_levels(embeddings, sizes, rng, resampling)
    rows = rng.permutation(unlabeled_rows(len(embeddings), labeled))
    picks = balanced_order(rows, labeled, tree)[:budget]
    return Selection(picks, clusters=tree[-1][picks])


def cluster_levels(points: Points, sizes: list[int], rng: np.random.Generator, resampling: int) -> list[Indices]:
    """Cluster points, then the centroids, and so on.

    Parameters
    ----------
    points : (n, d) float32, or Rows
    sizes : list of int
        Number of clusters at each level, the lowest level first; at most as many as the level has points.
    rng : numpy.random.Generator
    resampling : int
        How often each level above the first is clustered again.

    Returns
    -------
    list of (n,) int64
        Cluster of each point at each level; none is empty.
    """
    levels: list[Indices] = []
    for k in sizes:
        clusters = kmeans(points, min(k, len(points)), rng)
        labels, centroids = clusters.labels, clusters.centroids
        for _ in range(resampling if levels else 0):
            assert isinstance(points, np.ndarray), "centroids are in memory"
            near = nearest_members(points, labels, centroids, max(1, len(points) // (2 * len(centroids))))
            centroids = kmeans(points[near], min(len(centroids), len(near)), rng).centroids
            labels = nearest_squared(points, centroids)[0]
        nonempty, own = np.unique(labels, return_inverse=True)
        levels.append(own[levels[-1]] if levels else own)
        points = centroids[nonempty]
    return levels


def nearest_members(
    points: NDArray[np.float32], labels: Indices, centroids: NDArray[np.float32], count: int
) -> Indices:
    """Return the `count` members of each cluster that are nearest to its centroid, or all of them, ascending."""
    order = np.lexsort((squared_distances(points, centroids[labels]), labels))
    return np.sort(order[ranks_within(labels[order]) < count])


def balanced_order(rows: Indices, labeled: Indices, tree: list[Indices]) -> Indices:
    """Order rows so that the first of them, for any number, are divided evenly over the clusters of a tree.

    The highest clusters take turns, those below one of them take its turns in turn, and so on. It is always the turn
    of the cluster that has the fewest rows, labeled ones included, and then of the lowest; empty ones are skipped.

    Parameters
    ----------
    rows : (m,) int64
        Rows in their order within each of the lowest clusters.
    labeled : (l,) int64
    tree : list of (n,) int64
        Cluster of each row at each level, the lowest level first.

    Returns
    -------
    (m,) int64
    """
    for labels in tree:
        own = labels[rows]
        turns = ranks_within(own) + np.bincount(labels[labeled], minlength=int(labels.max()) + 1)[own]
        rows = rows[np.lexsort((own, turns))]
    return rows
