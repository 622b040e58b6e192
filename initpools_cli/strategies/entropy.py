"""Strategy `entropy`: highest entropy of the prediction."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.strategies.multilabel import entropy_of_sets
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, best_first


@strategies.register(paper="Shannon 1948", nested=True, cost="n c", needs_model=True, multilabel=entropy_of_sets)
def entropy(probs: NDArray[np.float64], labeled: NDArray[np.int64], budget: int) -> Selection:
    """Take the images whose predictions have the highest entropy.

    Parameters
    ----------
    probs : (n, c) float64
        Rows sum to 1.
    labeled : (m,) int64
    budget : int

    Returns
    -------
    Selection
        Scores: −Σ p ln p in nats, with 0 ln 0 = 0.
    """
    return best_first(entropies(probs), labeled, budget)


def entropies(probs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the entropy in nats of each row of `probs` (n, c), with 0 ln 0 = 0."""
    logarithms = np.log(np.where(probs > 0, probs, 1.0))
    # 0.0 − x, because negation would give −0.0 for a certain prediction.
    values: NDArray[np.float64] = 0.0 - np.einsum("ij,ij->i", probs, logarithms)
    return values
