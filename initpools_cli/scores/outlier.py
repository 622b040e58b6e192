"""Outlier: how far an image is from the nearest few."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.bounds import Count, PositiveCount
from initpools_cli.geometry.knn import knn
from initpools_cli.scores.registry import scores


@scores.register(
    paper="Ramaswamy, Rastogi & Shim 2000, SIGMOD", high="hardly any image is like it", cost="n² d", factor=1.5
)
def outlier(embeddings: NDArray[np.float32], *, neighbors: PositiveCount = 5, probes: Count = 0) -> NDArray[np.float64]:
    """The distance to the k-th nearest image.

    Few neighbors, so that a handful of images that are alike and unlike all others stand out. A distance, unlike the
    local outlier factor, divides by no density and so stays in proportion among duplicates.

    Parameters
    ----------
    embeddings : (n, d) float32
    neighbors : int
        k; at most all other images.
    probes : int
        0: exact. Else the nearest images are sought in so many of about 2 √n lists of images that lie together, which
        is faster and misses some.

    Returns
    -------
    (n,) float64
        0 for a single image.
    """
    n = len(embeddings)
    if n == 1:
        return np.zeros(1)
    return knn(embeddings, min(neighbors, n - 1), probes=probes)[1][:, -1]
