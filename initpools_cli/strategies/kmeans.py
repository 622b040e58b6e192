"""Strategy `kmeans`: the image nearest the centroid of each of `budget` clusters."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.kmeans import kmeans as cluster
from initpools_cli.geometry.neighbors import nearest_free
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection


@strategies.register(nested=False, cost="n d b", by_rows=True, factor=30.0, aliases=("centroid",))
def kmeans(
    embeddings: NDArray[np.float32], labeled: NDArray[np.int64], budget: int, rng: np.random.Generator
) -> Selection:
    """Cluster the images by k-means with as many clusters as the budget; take the image nearest each centroid.

    Larger clusters pick first. If the nearest image is labeled or already picked, the next nearest is taken. Labeled
    images are clustered, too. With nothing labeled this is the first pool of DropQuery (Gupte et al. 2024,
    arXiv:2401.14555), called `centroid` there.

    Parameters
    ----------
    embeddings : (n, d) float32
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator

    Returns
    -------
    Selection
        With clusters. Scores: minus the distance to the centroid.
    """
    clusters = cluster(embeddings, budget, rng)
    by_size = np.argsort(-np.bincount(clusters.labels, minlength=budget), kind="stable")
    indices, distances = nearest_free(clusters.centroids[by_size], embeddings, labeled)
    return Selection(indices, scores=-distances, clusters=by_size)
