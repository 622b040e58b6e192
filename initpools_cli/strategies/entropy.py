"""Entropy: where the prediction is most spread out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, best_first


@strategies.register(paper="Shannon 1948", nested=True, cost="n c", needs_model=True)
def entropy(probs: NDArray[np.float64], labeled: NDArray[np.int64], budget: int) -> Selection:
    """Take the images whose predicted classes have the highest entropy.

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
    """Entropy in nats of the distributions in the rows of `probs` (n, c); 0 ln 0 counts as 0."""
    logarithms = np.log(np.where(probs > 0, probs, 1.0))
    # Adding 0 turns the −0 of a certain prediction into 0.
    values: NDArray[np.float64] = 0.0 - np.einsum("ij,ij->i", probs, logarithms)
    return values
