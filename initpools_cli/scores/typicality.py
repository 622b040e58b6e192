"""Score `typicality`: local density of an image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.bounds import Count, PositiveCount
from initpools_cli.geometry.density import typicality as density
from initpools_cli.geometry.knn import approximate_revision
from initpools_cli.scores.registry import scores


@scores.register(
    paper="Hacohen, Dekel & Weinshall 2022, arXiv:2202.02794",
    high="many images are similar",
    cost="n² d",
    by_rows=True,
    factor=1.5,
    revision=approximate_revision,
)
def typicality(
    embeddings: NDArray[np.float32], *, neighbors: PositiveCount = 20, probes: Count = 0
) -> NDArray[np.float64]:
    """Compute 1 / (mean distance to the nearest images + 1e-5).

    Deviation: the paper computes it within each cluster; here it is among all images.

    Parameters
    ----------
    embeddings : (n, d) float32
    neighbors : int
        Number of nearest images averaged; at most half of the images.
    probes : int
        0: exact. Else approximate and faster: neighbors are searched in this many of about 2 √n lists of nearby images.

    Returns
    -------
    (n,) float64
        0 for a single image.
    """
    return density(embeddings, neighbors, probes=probes)
