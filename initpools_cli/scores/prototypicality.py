"""Score `prototypicality`: nearness to the center of a cluster."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.bounds import PositiveCount
from initpools_cli.geometry.kmeans import kmeans
from initpools_cli.geometry.neighbors import nearest
from initpools_cli.scores.registry import scores


@scores.register(
    paper="Sorscher et al. 2022, arXiv:2206.14486",
    high="near the center of its cluster",
    cost="n d k",
    by_rows=True,
    distributed=True,
    factor=40.0,
)
def prototypicality(
    embeddings: NDArray[np.float32], rng: np.random.Generator, *, clusters: PositiveCount = 20
) -> NDArray[np.float64]:
    """Compute minus the distance to the nearest k-means centroid; high is prototypical (easy, in the paper).

    Deviation: Euclidean distances between unit embeddings and centroids, not cosines.

    Parameters
    ----------
    embeddings : (n, d) float32
    rng : numpy.random.Generator
        Initializes k-means.
    clusters : int
        Number of clusters, at most n. The paper uses the number of classes.

    Returns
    -------
    (n,) float64
        At most 0.
    """
    centroids = kmeans(embeddings, min(clusters, len(embeddings)), rng).centroids
    # Not −distance, which would be −0.0 for an image equal to its centroid.
    return 0.0 - nearest(embeddings, centroids)[1]
