"""Score `duplicate`: similarity to the nearest other image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.bounds import Count
from initpools_cli.geometry.knn import approximate_revision, knn
from initpools_cli.geometry.normalize import unit_rows
from initpools_cli.scores.registry import scores


@scores.register(high="another image is nearly the same", cost="n² d", factor=1.5, revision=approximate_revision)
def duplicate(embeddings: NDArray[np.float32], *, probes: Count = 0) -> NDArray[np.float64]:
    """Compute the cosine similarity to the nearest other image; exactly 1 for duplicates.

    Parameters
    ----------
    embeddings : (n, d) float32
        Of any length. Zero rows have no direction: they have similarity 1 to each other and 0 to all others.
    probes : int
        0: exact. Else approximate and faster: neighbors are searched in this many of about 2 √n lists of nearby images.

    Returns
    -------
    (n,) float64
        In [−1, 1]; 0 for a single image.
    """
    points = unit_rows(embeddings)
    nonzero = points.any(axis=1)
    values = np.full(len(points), 1.0 if (~nonzero).sum() > 1 else 0.0)
    values[nonzero] = 0.0
    if nonzero.sum() > 1:
        # For unit vectors |a − b|² = 2 − 2 cos.
        rows = points if nonzero.all() else points[nonzero]
        values[nonzero] = 1 - knn(rows, 1, probes=probes)[1][:, 0] ** 2 / 2
    return values
