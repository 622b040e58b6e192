"""Strategy `vaal`: images that a discriminator considers unlabeled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, best_first


@strategies.register(paper="Sinha, Ebrahimi & Darrell 2019, arXiv:1904.00370", nested=True, cost="n", needs_model=True)
def vaal(vaal_scores: NDArray[np.float64], labeled: NDArray[np.int64], budget: int) -> Selection:
    """Take the images that a discriminator on autoencoder codes considers least likely to be labeled.

    Both are trained adversarially on all images, labeled and unlabeled (`training.vaal`).

    Parameters
    ----------
    vaal_scores : (n,) float64
        The discriminator's probability of being labeled.
    labeled : (m,) int64
    budget : int

    Returns
    -------
    Selection
        Scores: minus this probability.
    """
    return best_first(-vaal_scores, labeled, budget)
