"""Duplicate: whether another image is nearly the same."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.bounds import Count
from initpools_cli.geometry.knn import knn
from initpools_cli.geometry.normalize import unit_rows
from initpools_cli.scores.registry import scores


@scores.register(high="another image is nearly the same", cost="n² d", factor=1.5)
def duplicate(embeddings: NDArray[np.float32], *, probes: Count = 0) -> NDArray[np.float64]:
    """The cosine similarity to the nearest other image, from their distance: exactly 1 for a duplicate.

    Parameters
    ----------
    embeddings : (n, d) float32
        Of any length. Rows of zeros, which have no direction, are like each other and like nothing else.
    probes : int
        0: exact. Else the nearest images are sought in so many of about 2 √n lists of images that lie together, which
        is faster and misses some.

    Returns
    -------
    (n,) float64
        In [−1, 1]; 0 for a single image.
    """
    points = unit_rows(embeddings)
    directed = points.any(axis=1)
    found = np.full(len(points), 1.0 if (~directed).sum() > 1 else 0.0)
    found[directed] = 0.0
    if directed.sum() > 1:
        # Of vectors of length 1: |a − b|² = 2 − 2 cos.
        rows = points if directed.all() else points[directed]
        found[directed] = 1 - knn(rows, 1, probes=probes)[1][:, 0] ** 2 / 2
    return found
