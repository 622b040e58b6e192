"""Variation ratio: where the members of an ensemble vote for different classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, best_first


@strategies.register(paper="Beluch et al. 2018, CVPR", nested=True, cost="t n c", needs_model=True)
def var_ratio(member_probs: NDArray[np.float64], labeled: NDArray[np.int64], budget: int) -> Selection:
    """Take the images on whose class the fewest members of an ensemble agree.

    Few members leave many ties, which go to the lower index.

    Parameters
    ----------
    member_probs : (t, n, c) float64
        Of t ≥ 2 members; rows sum to 1. Each votes for its likeliest class, of equal ones for the first.
    labeled : (m,) int64
    budget : int

    Returns
    -------
    Selection
        Scores: 1 − the share of the votes that the favorite class has.
    """
    members, n, classes = member_probs.shape
    votes = np.zeros((n, classes))
    for one in member_probs:
        votes[np.arange(n), one.argmax(axis=1)] += 1
    return best_first(1 - votes.max(axis=1) / members, labeled, budget)
