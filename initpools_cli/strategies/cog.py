"""Strategy `cog` (center of gravity): images far from the mean."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.distances import distances_to, mean_row
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, best_first


@strategies.register(nested=True, cost="n d", factor=5.0, aliases=("center-of-gravity",))
def cog(embeddings: NDArray[np.float32], labeled: NDArray[np.int64], budget: int) -> Selection:
    """Take the images farthest from the mean of all images, labeled or not.

    Parameters
    ----------
    embeddings : (n, d) float32
    labeled : (m,) int64
    budget : int

    Returns
    -------
    Selection
        Scores: Euclidean distance from the mean.
    """
    return best_first(np.sqrt(distances_to(embeddings, mean_row(embeddings))), labeled, budget)
