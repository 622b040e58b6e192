"""Strategy `dbal`: highest entropy of the mean prediction of dropout passes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.strategies.entropy import entropies
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, best_first


@strategies.register(
    paper="Gal, Islam & Ghahramani 2017, arXiv:1703.02910", nested=True, cost="t n c", needs_model=True
)
def dbal(mc_probs: NDArray[np.float64], labeled: NDArray[np.int64], budget: int) -> Selection:
    """Take the images whose mean prediction over dropout passes has the highest entropy.

    Parameters
    ----------
    mc_probs : (t, n, c) float64
        Predictions of t ≥ 2 dropout passes; rows sum to 1.
    labeled : (m,) int64
    budget : int

    Returns
    -------
    Selection
        Scores: entropy of the mean prediction, in nats.
    """
    return best_first(entropies(mc_probs.mean(axis=0)), labeled, budget)
