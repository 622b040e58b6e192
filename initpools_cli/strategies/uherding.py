"""Uncertainty herding: a similar pick for every image, and rather for those the model is unsure of."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.bounds import PositiveFactor
from initpools_cli.geometry.knn import knn
from initpools_cli.geometry.similarity import greedy_facility_location, similarities
from initpools_cli.strategies.entropy import entropies
from initpools_cli.strategies.margin import margins
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, fill_by_distance

# Of the largest length: nearer rows are one row but for the rounding of float32.
SAME = 1e-6


@strategies.register(paper="Bae, Oliveira & Sutherland 2025, arXiv:2412.20644", nested=True, cost="n² d", factor=8.0)
def uherding(
    embeddings: NDArray[np.float32],
    labeled: NDArray[np.int64],
    budget: int,
    rng: np.random.Generator,
    probs: NDArray[np.float64] | None = None,
    *,
    uncertainty: Literal["margin", "entropy", "confidence"] = "margin",
    bandwidth: PositiveFactor = 1.0,
    temperature: PositiveFactor = 1.0,
) -> Selection:
    """Take the image that raises most the mean over all images of uncertainty times kernel with the most similar pick.

    Without a model every uncertainty is 1, and it is MaxHerding with the RBF kernel. With one the bandwidth is the
    smallest distance of two different labeled images. Deviations: the temperature is given, where the paper looks for
    the best calibrated one with models trained on a part of the labels; labeled images weigh as much as their
    predictions say, as in the paper, but all others are candidates, where its code draws some; once no image adds more
    than a millionth of an image of mean uncertainty it goes on by the largest distance.

    Parameters
    ----------
    embeddings : (n, d) float32
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator
        Not used.
    probs : (n, c) float64, optional
        Of a model trained on the labeled images; rows sum to 1.
    uncertainty : {"margin", "entropy", "confidence"}
        1 − the difference of the two largest probabilities; Σ −p ln p; 1 − the largest probability.
    bandwidth : float
        Where there is no model, or fewer than two different labeled images; in the embeddings' unit.
    temperature : float
        The probabilities are made p^(1/temperature), and sum to 1 again.

    Returns
    -------
    Selection
        Scores: by how much each raises that mean; 0 from where none does.
    """
    n = len(embeddings)
    weights, typical = np.ones(n), 1.0
    if probs is not None:
        weights = uncertainties(tempered(probs, temperature), uncertainty)
        typical = float(weights.mean())
        bandwidth = smallest_gap(embeddings[labeled]) or bandwidth
    if not typical:
        return fill_by_distance(embeddings, labeled, np.empty(0, np.int64), np.empty(0), budget)
    # What counts as a gain must not depend on how unsure the model is on the whole.
    picks, gains = greedy_facility_location(
        similarities(embeddings, "rbf", bandwidth), budget, labeled, weights=weights / typical
    )
    return fill_by_distance(embeddings, labeled, picks, gains * typical / n, budget)


def tempered(probs: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Softmax of the logits over `temperature`, from the probabilities (n, c) at temperature 1."""
    if temperature == 1:
        return probs
    scaled = (probs / probs.max(axis=1, keepdims=True)) ** (1 / temperature)
    result: NDArray[np.float64] = scaled / scaled.sum(axis=1, keepdims=True)
    return result


def uncertainties(probs: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """How unsure each prediction (n, c) is, (n,), from 0."""
    if name == "entropy":
        return entropies(probs)
    values = 1 - (margins(probs) if name == "margin" else probs.max(axis=1))
    result: NDArray[np.float64] = np.maximum(values, 0)
    return result


def smallest_gap(points: NDArray[np.float32]) -> float:
    """The smallest distance of two different rows of `points` (m, d); 0 where there are no two."""
    # Adding 0 makes −0 and 0 one value.
    different = np.unique(points + np.float32(0), axis=0)
    if len(different) < 2:
        return 0.0
    longest = float(np.linalg.norm(different.astype(np.float64), axis=1).max())
    return max(float(knn(different, 1)[1].min()), SAME * longest)
