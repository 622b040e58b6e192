"""Strategy `uherding`: MaxHerding weighted by the uncertainty of the model."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.bounds import PositiveFactor
from initpools_cli.core.errors import UserError
from initpools_cli.geometry.facility_location import greedy_facility_location
from initpools_cli.geometry.knn import knn
from initpools_cli.geometry.similarity import similarities
from initpools_cli.strategies.entropy import entropies
from initpools_cli.strategies.margin import margins
from initpools_cli.strategies.objective_sample import ObjectiveSample, unpack
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, fill_by_distance

CALIBRATED = "calibrated"
# Rows closer than this share of the largest length are equal within float32 rounding.
SAME = 1e-6


@strategies.register(
    paper="Bae, Oliveira & Sutherland 2025, arXiv:2412.20644",
    nested=True,
    cost="n² d",
    factor=8.0,
    partitions=True,
    only_with={"calibration": ("temperature", CALIBRATED)},
)
def uherding(
    embeddings: NDArray[np.float32],
    labeled: NDArray[np.int64],
    budget: int,
    rng: np.random.Generator,
    probs: NDArray[np.float64] | None = None,
    calibration: NDArray[np.float64] | None = None,
    sample: ObjectiveSample | None = None,
    *,
    uncertainty: Literal["margin", "entropy", "confidence"] = "margin",
    bandwidth: PositiveFactor = 1.0,
    temperature: PositiveFactor | Literal["calibrated"] = 1.0,
) -> Selection:
    """Take the image that most increases the mean of uncertainty times kernel with the most similar pick.

    Without a model every uncertainty is 1, and it equals MaxHerding with the RBF kernel. With one, the bandwidth is the
    smallest distance between two different labeled images.

    Differences from the authors' code:

    - The temperature is 1 by default. If calibrated, it has the smallest log-loss, with a prior around 1, on all
      labeled images, each predicted by a model trained without its fifth of them. The code takes the smallest
      calibration error of one model on the 30 % that were held out.
    - All unlabeled images are candidates, where the code draws some.
    - Once no image adds more than a millionth of an image of mean uncertainty, it continues with the image farthest
      from all picks.

    Parameters
    ----------
    embeddings : (n, d) float32
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator
        Unused.
    probs : (n, c) float64, optional
        Predictions of a model trained on the labeled images; rows sum to 1.
    calibration : (1,) float64, optional
        Temperature that calibrates the model.
    sample : ObjectiveSample, optional
        Images that the mean is over, and those that may be picked; default: all.
    uncertainty : {"margin", "entropy", "confidence"}
        1 − the difference of the two largest probabilities; Σ −p ln p; 1 − the largest probability.
    bandwidth : float
        Used without a model, or with fewer than two different labeled images; in the embeddings' unit.
    temperature : float or "calibrated"
        Probabilities are replaced by p^(1/temperature), normalized to sum to 1. "calibrated" trains five more
        classifiers in each round of `al-run`.

    Returns
    -------
    Selection
        Scores: increase of the mean; 0 once no image increases it.
    """
    each, candidates, support = unpack(sample)
    each = np.ones(len(embeddings)) if each is None else each
    weights, typical = np.ones(len(embeddings)), 1.0
    if probs is not None:
        weights = uncertainties(tempered(probs, number_of(temperature, calibration)), uncertainty)
        typical = float(weights.mean() if sample is None else np.average(weights, weights=each))
        bandwidth = smallest_gap(embeddings[labeled]) or bandwidth
    if not typical:
        return fill_by_distance(embeddings, labeled, np.empty(0, np.int64), np.empty(0), budget, candidates)
    # Divided by the mean uncertainty, so that the threshold for gains does not depend on it.
    similar, weights = similarities(embeddings, "rbf", bandwidth), weights / typical * each
    picks, gains = greedy_facility_location(similar, budget, labeled, weights, candidates=candidates, support=support)
    return fill_by_distance(embeddings, labeled, picks, gains * typical / each.sum(), budget, candidates)


def number_of(temperature: float | str, calibration: NDArray[np.float64] | None) -> float:
    """Return the temperature, or the calibrated one.

    Raises
    ------
    UserError
        If it is not known.
    """
    if temperature != CALIBRATED:
        return float(temperature)
    if calibration is None:
        raise UserError(
            f"temperature = '{CALIBRATED}' needs classifiers trained on parts of the labels, which only al-run trains.",
            "Use it in `initpools al-run`, or set a number, such as --set temperature=1.5.",
            CALIBRATED,
        )
    return float(calibration[0])


def tempered(probs: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Rescale probabilities (n, c) to another softmax temperature."""
    if temperature == 1:
        return probs
    powers = (probs / probs.max(axis=1, keepdims=True)) ** (1 / temperature)
    result: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return result


def uncertainties(probs: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """Compute the uncertainty of each prediction (n, c), (n,), at least 0."""
    if name == "entropy":
        return entropies(probs)
    values = 1 - (margins(probs) if name == "margin" else probs.max(axis=1))
    result: NDArray[np.float64] = np.maximum(values, 0)
    return result


def smallest_gap(points: NDArray[np.float32]) -> float:
    """Compute the smallest distance between two different rows of `points` (m, d); 0 if there are no two."""
    # Adding 0 makes −0 and 0 equal.
    different = np.unique(points + np.float32(0), axis=0)
    if len(different) < 2:
        return 0.0
    longest = float(np.linalg.norm(different.astype(np.float64), axis=1).max())
    return max(float(knn(different, 1)[1].min()), SAME * longest)
