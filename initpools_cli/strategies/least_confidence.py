"""Strategy `least-confidence`: lowest probability of the predicted class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.strategies.multilabel import least_confidence_of_sets
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, best_first


@strategies.register(
    paper="Lewis & Gale 1994, arXiv:cmp-lg/9407020",
    nested=True,
    cost="n c",
    needs_model=True,
    aliases=("uncertainty",),
    multilabel=least_confidence_of_sets,
)
def least_confidence(probs: NDArray[np.float64], labeled: NDArray[np.int64], budget: int) -> Selection:
    """Take the images whose predicted class has the lowest probability.

    Parameters
    ----------
    probs : (n, c) float64
        Rows sum to 1.
    labeled : (m,) int64
    budget : int

    Returns
    -------
    Selection
        Scores: 1 − max p.
    """
    return best_first(1 - probs.max(axis=1), labeled, budget)
