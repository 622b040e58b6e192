"""Draw images whose gradients of the last layer are far apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.chunked import map_blocks
from initpools_cli.geometry.sampling import draw
from initpools_cli.strategies.selection import Selection

ROWS = 4096
# Squared distances below this share of the squared lengths are inexact as float32 products.
CLOSE = 2.0**-8


def draw_apart(
    features: NDArray[np.float32],
    errors: NDArray[np.float64],
    labeled: NDArray[np.int64],
    budget: int,
    rng: np.random.Generator,
) -> Selection:
    """Draw images with probability proportional to the squared distance of their gradient from the nearest drawn one.

    The first is the one with the longest gradient.

    Parameters
    ----------
    features : (n, h) float32
        Inputs of the last layer.
    errors : (n, c) float64
        Gradients of the loss with respect to the logits; that with respect to the weights is their outer product with
        the features.
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator

    Returns
    -------
    Selection
        Scores: distance to the nearest gradient drawn earlier, inf for the first.
    """
    gradients = _Gradients(features, errors)
    free = np.ones(len(features), bool)
    free[labeled] = False
    sq_distances = np.full(len(features), np.inf)
    picks = np.empty(budget, np.int64)
    gaps = np.empty(budget)
    for place in range(budget):
        at = draw(sq_distances, free, rng) if place else int(np.where(free, gradients.lengths, -1.0).argmax())
        picks[place], gaps[place] = at, sq_distances[at]
        free[at] = False
        gradients.lower(sq_distances, at)
    return Selection(picks, scores=np.sqrt(gaps))


class _Gradients:
    """Outer products of error (c,) and features (h,) of each image, in factored form.

    Attributes
    ----------
    lengths : (n,) float64
        Squared lengths.
    """

    def __init__(self, features: NDArray[np.float32], errors: NDArray[np.float64]) -> None:
        self.features = features
        self.errors = errors
        sizes = map_blocks(lambda span: np.einsum("ij,ij->i", features[span], features[span]), len(features), ROWS)
        self.sizes = np.concatenate(sizes).astype(np.float64)
        self.lengths = self.sizes * np.einsum("ij,ij->i", self.errors, self.errors)

    def lower(self, sq_distances: NDArray[np.float64], at: int) -> None:
        """Lower `sq_distances` (n,), in place, to the squared distance from gradient `at` where that is less."""

        def lower(span: slice) -> None:
            both = self.lengths[span] + self.lengths[at]
            products = (self.features[span] @ self.features[at]) * (self.errors[span] @ self.errors[at])
            rough = np.maximum(both - 2 * products, 0.0)
            close = span.start + np.flatnonzero((rough < CLOSE * both) & (sq_distances[span] > 0))
            rough[close - span.start] = self._exact(close, at)
            np.minimum(sq_distances[span], rough, out=sq_distances[span])

        map_blocks(lower, len(sq_distances), ROWS)

    def _exact(self, rows: NDArray[np.int64], at: int) -> NDArray[np.float64]:
        """Compute squared distances from gradient `at` by differences of the factors in float64; 0 for equal ones."""
        error, feature = self.errors[at], self.features[at].astype(np.float64)
        error_gaps = self.errors[rows] - error
        feature_gaps = self.features[rows] - feature
        # a hᵀ − b gᵀ = (a − b) gᵀ + a (h − g)ᵀ
        first = np.einsum("ij,ij->i", error_gaps, error_gaps) * (feature @ feature)
        second = np.einsum("ij,ij->i", self.errors[rows], self.errors[rows]) * np.einsum(
            "ij,ij->i", feature_gaps, feature_gaps
        )
        mix = np.einsum("ij,ij->i", error_gaps, self.errors[rows]) * (feature_gaps @ feature)
        return np.maximum(first + second + 2 * mix, 0.0)
