"""Score `outlier`: distance to the k-th nearest image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.bounds import Count, PositiveCount
from initpools_cli.geometry.knn import approximate_revision, knn
from initpools_cli.scores.registry import scores


@scores.register(
    paper="Ramaswamy, Rastogi & Shim 2000, SIGMOD",
    high="few images are similar",
    cost="n² d",
    factor=1.5,
    revision=approximate_revision,
)
def outlier(embeddings: NDArray[np.float32], *, neighbors: PositiveCount = 5, probes: Count = 0) -> NDArray[np.float64]:
    """Compute the distance to the k-th nearest image.

    With a small k, a small group of images far from all others has high scores. Unlike the local outlier factor it is
    not divided by a density, so it is well-behaved among duplicates.

    Parameters
    ----------
    embeddings : (n, d) float32
    neighbors : int
        k; at most all other images.
    probes : int
        0: exact. Else approximate and faster: neighbors are searched in this many of about 2 √n lists of nearby images.

    Returns
    -------
    (n,) float64
        0 for a single image.
    """
    n = len(embeddings)
    if n == 1:
        return np.zeros(1)
    return knn(embeddings, min(neighbors, n - 1), probes=probes)[1][:, -1]
