"""Stratified: a random draw in which no region is over- or under-represented by chance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.bounds import PositiveCount
from initpools_cli.geometry.kmeans import kmeans
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, ranks_within, unlabeled_rows


@strategies.register(nested=True, cost="n d k", factor=40.0)
def stratified(
    embeddings: NDArray[np.float32],
    labeled: NDArray[np.int64],
    budget: int,
    rng: np.random.Generator,
    *,
    n_clusters: PositiveCount = 20,
) -> Selection:
    """Draw at random within k-means clusters, each getting labels in proportion to its size.

    The seats are given by Sainte-Laguë's quotients size / (2 held + 1), where labeled images count as held: the
    shares stay proportional at every budget, and a larger pool begins with the smaller one.

    Parameters
    ----------
    embeddings : (n, d) float32
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator
    n_clusters : int

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
    held = np.bincount(clusters[labeled], minlength=k)[inside] + ranks_within(inside)
    quotients = np.bincount(clusters, minlength=k)[inside] / (2 * held + 1)
    picks = rows[np.lexsort((inside, -quotients))[:budget]]
    return Selection(picks, clusters=clusters[picks])
