"""BADGE: k-means++ on what each image would do to the last layer if it had the class that the model expects."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.chunked import map_blocks
from initpools_cli.geometry.sampling import draw
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection

ROWS = 4096
# Of the squared lengths: below it, float32 products leave too little of a squared distance.
CLOSE = 2.0**-8


@strategies.register(paper="Ash et al. 2020, arXiv:1906.03671", nested=True, cost="b n h", needs_model=True)
def badge(
    features: NDArray[np.float32],
    probs: NDArray[np.float64],
    labeled: NDArray[np.int64],
    budget: int,
    rng: np.random.Generator,
) -> Selection:
    """Draw each image with probability proportional to its gradient's squared distance from the nearest one drawn.

    The gradient is that of the cross-entropy with the likeliest class by the weights of the last layer, (p − e) hᵀ. No
    gradient is ever written out. The first image is the one with the longest gradient, as in the paper's code, where
    k-means++ would draw any; gradients of labeled images are about 0 and, as there, play no part.

    Parameters
    ----------
    features : (n, h) float32
        What goes into the last layer.
    probs : (n, c) float64
        Rows sum to 1.
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator

    Returns
    -------
    Selection
        Scores: distance to the nearest gradient drawn before, inf for the first.
    """
    gradients = _Gradients(features, probs)
    free = np.ones(len(features), bool)
    free[labeled] = False
    squared = np.full(len(features), np.inf)
    picks = np.empty(budget, np.int64)
    gaps = np.empty(budget)
    for place in range(budget):
        at = draw(squared, free, rng) if place else int(np.where(free, gradients.lengths, -1.0).argmax())
        picks[place], gaps[place] = at, squared[at]
        free[at] = False
        gradients.lower(squared, at)
    return Selection(picks, scores=np.sqrt(gaps))


class _Gradients:
    """Products of an error (c,) and a feature (h,) for each image, of which only the factors are kept.

    Attributes
    ----------
    lengths : (n,) float64
        Squared.
    """

    def __init__(self, features: NDArray[np.float32], probs: NDArray[np.float64]) -> None:
        self.features = features
        self.errors = probs.copy()
        self.errors[np.arange(len(probs)), probs.argmax(axis=1)] -= 1
        sizes = map_blocks(lambda span: np.einsum("ij,ij->i", features[span], features[span]), len(features), ROWS)
        self.sizes = np.concatenate(sizes).astype(np.float64)
        self.lengths = self.sizes * np.einsum("ij,ij->i", self.errors, self.errors)

    def lower(self, squared: NDArray[np.float64], at: int) -> None:
        """Lower `squared` (n,), in place, to the squared distance from gradient `at` where that is less."""

        def lower(span: slice) -> None:
            both = self.lengths[span] + self.lengths[at]
            products = (self.features[span] @ self.features[at]) * (self.errors[span] @ self.errors[at])
            rough = np.maximum(both - 2 * products, 0.0)
            close = span.start + np.flatnonzero((rough < CLOSE * both) & (squared[span] > 0))
            rough[close - span.start] = self._measured(close, at)
            np.minimum(squared[span], rough, out=squared[span])

        map_blocks(lower, len(squared), ROWS)

    def _measured(self, rows: NDArray[np.int64], at: int) -> NDArray[np.float64]:
        """Squared distances from gradient `at`, from differences of the factors in float64: 0 for equal ones."""
        error, feature = self.errors[at], self.features[at].astype(np.float64)
        moved = self.errors[rows] - error
        turned = self.features[rows] - feature
        # a hᵀ − b gᵀ = (a − b) gᵀ + a (h − g)ᵀ
        first = np.einsum("ij,ij->i", moved, moved) * (feature @ feature)
        second = np.einsum("ij,ij->i", self.errors[rows], self.errors[rows]) * np.einsum("ij,ij->i", turned, turned)
        mixed = np.einsum("ij,ij->i", moved, self.errors[rows]) * (turned @ feature)
        return np.maximum(first + second + 2 * mixed, 0.0)
