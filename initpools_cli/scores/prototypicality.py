"""Prototypicality: how near an image is to the center of its cluster."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.bounds import PositiveCount
from initpools_cli.geometry.kmeans import kmeans
from initpools_cli.geometry.neighbors import nearest
from initpools_cli.scores.registry import scores


@scores.register(
    paper="Sorscher et al. 2022, arXiv:2206.14486",
    high="it is near the center of its cluster",
    cost="n d k",
    factor=40.0,
)
def prototypicality(
    embeddings: NDArray[np.float32], rng: np.random.Generator, *, clusters: PositiveCount = 20
) -> NDArray[np.float64]:
    """The distance to the nearest k-means centroid, negated: high is prototypical, which the paper calls easy.

    Deviation: the Euclidean distance between embeddings of length 1 and centroids, not their cosine.

    Parameters
    ----------
    embeddings : (n, d) float32
    rng : numpy.random.Generator
        For the clusters.
    clusters : int
        At most one per image. The paper takes the number of classes.

    Returns
    -------
    (n,) float64
        At most 0.
    """
    centroids = kmeans(embeddings, min(clusters, len(embeddings)), rng).centroids
    # Not −distance: that would be −0.0 for an image that is its cluster.
    return 0.0 - nearest(embeddings, centroids)[1]
