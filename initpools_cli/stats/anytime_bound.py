"""Lower bound of an accuracy that holds at all times, however often one looks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: Alternatives between the accuracy in question (0) and 1.
ALTERNATIVES = np.array([0.1, 0.25, 0.4, 0.6, 0.8, 0.95])
#: Accuracies that are tried.
STEPS = 1_000


def anytime_bound(right: Sequence[int], counts: Sequence[int], error: float = 0.05) -> float:
    """Compute a lower bound of the highest accuracy so far, valid at every round with probability 1 - error.

    In each round, images drawn at random are predicted before their labels are known. If no model so far was more
    accurate than a, the product of the likelihood ratios of a better accuracy and of a is a supermartingale, as is any
    average of such products: over alternatives, and over the round where the product begins (with weights 1/2, 1/6,
    1/12 …), since early models are worse. By Ville's inequality it ever exceeds 1 / error with at most that probability
    (betting on means: Waudby-Smith & Ramdas 2024, arXiv:2010.09686). The bound is the largest a up to which it does.

    Parameters
    ----------
    right, counts : sequence of int
        Of each round, in order: number of correct predictions, and of images.
    error : float
        Between 0 and 1.

    Returns
    -------
    float
        In [0, 1); 0 without images.
    """
    hits = np.cumsum(np.asarray(right, dtype=np.float64)[::-1])[::-1]
    trials = np.cumsum(np.asarray(counts, dtype=np.float64)[::-1])[::-1]
    starts = np.arange(1, len(hits) + 1)
    weights = 1 / (starts * (starts + 1.0))
    grid = np.arange(1, STEPS) / STEPS
    better = grid[:, None] + (1 - grid[:, None]) * ALTERNATIVES
    gains, losses = np.log(better / grid[:, None]), np.log((1 - better) / (1 - grid[:, None]))
    exponents = hits[:, None, None] * gains + (trials - hits)[:, None, None] * losses
    evidence = 1 - weights.sum() + weights @ np.exp(np.minimum(exponents, 700)).mean(axis=2)
    enough = evidence >= 1 / error
    return float(grid[int(np.argmin(enough)) - 1]) if enough[0] else 0.0
