"""DBAL: entropy of what passes with dropout say on average."""

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
    """Take the images whose predicted classes, averaged over passes with dropout, have the highest entropy.

    Parameters
    ----------
    mc_probs : (t, n, c) float64
        Of t ≥ 2 passes; rows sum to 1.
    labeled : (m,) int64
    budget : int

    Returns
    -------
    Selection
        Scores: the entropy of the mean over the passes, in nats.
    """
    return best_first(entropies(mc_probs.mean(axis=0)), labeled, budget)
