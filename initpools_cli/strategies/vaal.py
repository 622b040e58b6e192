"""VAAL: images that a discriminator tells from the labeled ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, best_first


@strategies.register(paper="Sinha, Ebrahimi & Darrell 2019, arXiv:1904.00370", nested=True, cost="n", needs_model=True)
def vaal(vaal_scores: NDArray[np.float64], labeled: NDArray[np.int64], budget: int) -> Selection:
    """Take the images that are least likely to be labeled, by a discriminator on the codes of an autoencoder.

    The two are trained against each other on all images, labeled or not (`training.vaal`).

    Parameters
    ----------
    vaal_scores : (n,) float64
        The discriminator's probability of being labeled.
    labeled : (m,) int64
    budget : int

    Returns
    -------
    Selection
        Scores: minus that probability.
    """
    return best_first(-vaal_scores, labeled, budget)
