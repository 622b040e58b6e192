"""Strategy `kmeans++`: random draws weighted by squared distance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.sampling import distance_weighted
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection


@strategies.register(
    "kmeans++",
    paper="Arthur & Vassilvitskii 2007, SODA",
    nested=True,
    cost="b n d",
    by_rows=True,
    factor=25.0,
    aliases=("kmeanspp", "d2"),
)
def kmeanspp(
    embeddings: NDArray[np.float32], labeled: NDArray[np.int64], budget: int, rng: np.random.Generator
) -> Selection:
    """Draw images with probability proportional to the squared distance from the nearest pick or labeled image.

    Parameters
    ----------
    embeddings : (n, d) float32
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator

    Returns
    -------
    Selection
        Scores: distance to the nearest labeled image or earlier pick, inf for the very first.
    """
    picks, sq_distances = distance_weighted(embeddings, budget, rng, labeled)
    return Selection(picks, scores=np.sqrt(sq_distances))
