"""Strategy `var-ratio`: disagreement of an ensemble's votes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, best_first


@strategies.register(paper="Beluch et al. 2018, CVPR", nested=True, cost="t n c", needs_model=True)
def var_ratio(member_probs: NDArray[np.float64], labeled: NDArray[np.int64], budget: int) -> Selection:
    """Take the images on whose class the fewest ensemble members agree.

    Ties, frequent with few members, go to the lower index.

    Parameters
    ----------
    member_probs : (t, n, c) float64
        Predictions of t ≥ 2 members; rows sum to 1. Each votes for its most likely class, the first of ties.
    labeled : (m,) int64
    budget : int

    Returns
    -------
    Selection
        Scores: 1 − share of votes for the most voted class.
    """
    members, n, classes = member_probs.shape
    votes = np.zeros((n, classes))
    for one in member_probs:
        votes[np.arange(n), one.argmax(axis=1)] += 1
    return best_first(1 - votes.max(axis=1) / members, labeled, budget)
