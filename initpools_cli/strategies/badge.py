"""Strategy `badge`: k-means++ on gradients of the last layer, for the predicted classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.strategies.gradients import draw_apart
from initpools_cli.strategies.multilabel import badge_of_sets
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection


@strategies.register(
    paper="Ash et al. 2020, arXiv:1906.03671", nested=True, cost="b n h", needs_model=True, multilabel=badge_of_sets
)
def badge(
    features: NDArray[np.float32],
    probs: NDArray[np.float64],
    labeled: NDArray[np.int64],
    budget: int,
    rng: np.random.Generator,
) -> Selection:
    """Draw images with probability proportional to the squared distance of their gradient from the nearest drawn one.

    The gradient is that of the cross-entropy of the most likely class with respect to the weights of the last layer, (p
    − e) hᵀ. It is kept in factored form.

    As in the paper's code, the first image is the one with the longest gradient, where k-means++ would draw a random
    one, and labeled images, whose gradients are about 0, are ignored.

    Parameters
    ----------
    features : (n, h) float32
        Inputs of the last layer.
    probs : (n, c) float64
        Rows sum to 1.
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator

    Returns
    -------
    Selection
        Scores: distance to the nearest gradient drawn earlier, inf for the first.
    """
    errors = probs.copy()
    errors[np.arange(len(probs)), probs.argmax(axis=1)] -= 1
    return draw_apart(features, errors, labeled, budget, rng)
