"""Strategy `margin`: smallest difference between the two most likely classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.strategies.multilabel import margin_of_sets
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, best_first


@strategies.register(
    paper="Scheffer, Decomain & Wrobel 2001, IDA",
    nested=True,
    cost="n c",
    needs_model=True,
    multilabel=margin_of_sets,
)
def margin(probs: NDArray[np.float64], labeled: NDArray[np.int64], budget: int) -> Selection:
    """Take the images with the smallest difference between the probabilities of the two most likely classes.

    Parameters
    ----------
    probs : (n, c) float64
        Rows sum to 1.
    labeled : (m,) int64
    budget : int

    Returns
    -------
    Selection
        Scores: minus that difference, in [−1, 0].
    """
    return best_first(-margins(probs), labeled, budget)


def margins(probs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the difference of the two largest entries of each row of `probs` (n, c); a missing class counts as 0."""
    if probs.shape[1] == 1:
        return probs[:, 0]
    largest = np.partition(probs, -2, axis=1)[:, -2:]
    return largest[:, 1] - largest[:, 0]
