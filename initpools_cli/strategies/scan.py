"""Strategy `scan`: equal random draws from the clusters of SCAN."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, equal_draw


@strategies.register(nested=True, cost="n", paper="Van Gansbeke et al. 2020, arXiv:2005.12320")
def scan(
    clusters: NDArray[np.int64],
    labeled: NDArray[np.int64],
    budget: int,
    rng: np.random.Generator,
) -> Selection:
    """Draw equally many random images from each cluster of SCAN.

    Draws are round-robin over clusters, skipping exhausted ones.

    Parameters
    ----------
    clusters : (n,) int64
        Clusters of ``initpools pretrain scan``, or any others.
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator

    Returns
    -------
    Selection
        With clusters.
    """
    return equal_draw(clusters, labeled, budget, rng)
