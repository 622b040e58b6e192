"""Strategy `consistency`: highest variance of predictions over views."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, best_first


@strategies.register(paper="Gao et al. 2020, arXiv:1910.07153", nested=True, cost="t n c", needs_model=True)
def consistency(view_probs: NDArray[np.float64], labeled: NDArray[np.int64], budget: int) -> Selection:
    """Take the images whose predictions vary most over random views.

    Parameters
    ----------
    view_probs : (t, n, c) float64
        Predictions of t ≥ 2 views; rows sum to 1.
    labeled : (m,) int64
    budget : int

    Returns
    -------
    Selection
        Scores: sum over classes of the variance over views.
    """
    return best_first(view_probs.var(axis=0).sum(axis=1), labeled, budget)
