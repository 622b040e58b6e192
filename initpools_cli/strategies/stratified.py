"""Strategy `stratified`: random draws from k-means clusters in proportion to their size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.bounds import PositiveCount
from initpools_cli.geometry.kmeans import kmeans
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, ranks_within, unlabeled_rows


@strategies.register(nested=True, cost="n d k", by_rows=True, factor=40.0)
def stratified(
    embeddings: NDArray[np.float32],
    labeled: NDArray[np.int64],
    budget: int,
    rng: np.random.Generator,
    *,
    n_clusters: PositiveCount = 20,
) -> Selection:
    """Draw random images from k-means clusters in proportion to cluster size.

    Picks are apportioned by Sainte-Laguë's quotients size / (2 labeled + 1), where labeled images and earlier picks
    count: shares are proportional at every budget, and a larger pool begins with the smaller one.

    Parameters
    ----------
    embeddings : (n, d) float32
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator
    n_clusters : int
        Number of k-means clusters.

    Returns
    -------
    Selection
        With clusters.
    """
    n = len(embeddings)
    k = min(n_clusters, n)
    clusters = kmeans(embeddings, k, rng).labels
    rows = rng.permutation(unlabeled_rows(n, labeled))
    inside = clusters[rows]
    before = np.bincount(clusters[labeled], minlength=k)[inside] + ranks_within(inside)
    quotients = np.bincount(clusters, minlength=k)[inside] / (2 * before + 1)
    picks = rows[np.lexsort((inside, -quotients))[:budget]]
    return Selection(picks, clusters=clusters[picks])
