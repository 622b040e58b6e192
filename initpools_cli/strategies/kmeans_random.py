"""Strategy `kmeans-random`: equal random draws from k-means clusters."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.bounds import PositiveCount
from initpools_cli.geometry.kmeans import kmeans
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, equal_draw


@strategies.register(nested=True, cost="n d k", by_rows=True, factor=40.0)
def kmeans_random(
    embeddings: NDArray[np.float32],
    labeled: NDArray[np.int64],
    budget: int,
    rng: np.random.Generator,
    *,
    n_clusters: PositiveCount = 20,
) -> Selection:
    """Draw equally many random images from each k-means cluster.

    Draws are round-robin over clusters, skipping exhausted ones.

    Parameters
    ----------
    embeddings : (n, d) float32
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator
    n_clusters : int
        Best the number of classes, if it is known.

    Returns
    -------
    Selection
        With clusters.
    """
    clusters = kmeans(embeddings, min(n_clusters, len(embeddings)), rng).labels
    return equal_draw(clusters, labeled, budget, rng)
