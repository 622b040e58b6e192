"""Queries for several labels per image: the label set in the place of the class.

The labels of an image are treated as independent given the image, as the learners with one logistic loss per class
do: label set y has the probability Π p_k^y_k (1 − p_k)^(1 − y_k). The queries are then those of one class per image,
with the 2^c label sets as the classes, which never have to be listed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.chunked import map_blocks
from initpools_cli.strategies.gradients import draw_apart
from initpools_cli.strategies.selection import Selection, best_first

ROWS = 4096


def least_confidence_of_sets(label_probs: NDArray[np.float64], labeled: NDArray[np.int64], budget: int) -> Selection:
    """Take the images whose most likely label set has the lowest probability.

    That set has the labels with p ≥ ½, and the probability Π max(p_k, 1 − p_k).

    Parameters
    ----------
    label_probs : (n, c) float64
        Probability of each label.
    labeled : (m,) int64
    budget : int

    Returns
    -------
    Selection
        Scores: −ln of that probability, in nats, which orders as 1 − the probability does and does not round to 1.
    """
    return best_first(surprisal(label_probs), labeled, budget)


def surprisal(label_probs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute −ln of the probability of the most likely label set, (n,), in nats."""
    # 0.0 − x, because negation would give −0.0 for a certain prediction.
    values: NDArray[np.float64] = 0.0 - np.log(np.maximum(label_probs, 1 - label_probs)).sum(axis=1)
    return values


def margin_of_sets(label_probs: NDArray[np.float64], labeled: NDArray[np.int64], budget: int) -> Selection:
    """Take the images with the smallest difference between the probabilities of the two most likely label sets.

    The second most likely set differs from the first in the label whose m_k = max(p_k, 1 − p_k) is smallest: its
    probability is (1 − m) / m times that of the first.

    Parameters
    ----------
    label_probs : (n, c) float64
        Probability of each label.
    labeled : (m,) int64
    budget : int

    Returns
    -------
    Selection
        Scores: minus that difference, in [−1, 0].
    """
    return best_first(-set_margins(label_probs), labeled, budget)


def set_margins(label_probs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the difference of the probabilities of the two most likely label sets, (n,)."""
    likely = np.sort(np.maximum(label_probs, 1 - label_probs), axis=1)
    margins: NDArray[np.float64] = (2 * likely[:, 0] - 1) * likely[:, 1:].prod(axis=1)
    return margins


def entropy_of_sets(label_probs: NDArray[np.float64], labeled: NDArray[np.int64], budget: int) -> Selection:
    """Take the images whose label sets have the highest entropy: the sum of the entropies of the labels.

    Parameters
    ----------
    label_probs : (n, c) float64
        Probability of each label.
    labeled : (m,) int64
    budget : int

    Returns
    -------
    Selection
        Scores: −Σ (p ln p + (1 − p) ln(1 − p)) in nats, with 0 ln 0 = 0.
    """
    return best_first(label_entropies(label_probs).sum(axis=1), labeled, budget)


def label_entropies(label_probs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the entropy of each label, of the shape of `label_probs`, in nats."""
    absent = 1 - label_probs
    present = np.where(label_probs > 0, label_probs, 1.0)
    values: NDArray[np.float64] = (
        0.0 - label_probs * np.log(present) - absent * np.log(np.where(absent > 0, absent, 1.0))
    )
    return values


def bald_of_sets(mc_label_probs: NDArray[np.float64], labeled: NDArray[np.int64], budget: int) -> Selection:
    """Take the images with the highest mutual information between labels and model, summed over the labels.

    The labels are independent given the model, not in the mean over models, so the sum is an upper bound of the
    information between the label set and the model: H(y) ≤ Σ H(y_k), and H(y | model) = Σ H(y_k | model).

    Parameters
    ----------
    mc_label_probs : (t, n, c) float64
        Probability of each label in t ≥ 2 dropout passes.
    labeled : (m,) int64
    budget : int

    Returns
    -------
    Selection
        Scores: Σ of the entropy of the mean probability minus the mean entropy of the passes, in nats; from 0, if all
        passes agree, to c ln 2.
    """
    return best_first(label_information(mc_label_probs), labeled, budget)


def label_information(mc_label_probs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the mutual information (n,) between labels and dropout pass, summed over labels, in nats."""

    def part(rows: slice) -> NDArray[np.float64]:
        passes = mc_label_probs[:, rows]
        # Exact if all passes agree.
        mean = passes[0] + (passes - passes[0]).mean(axis=0)
        each = label_entropies(passes)
        entropy = each[0] + (each - each[0]).mean(axis=0)
        information: NDArray[np.float64] = np.maximum(label_entropies(mean.clip(0, 1)) - entropy, 0).sum(axis=1)
        return information

    return np.concatenate(map_blocks(part, mc_label_probs.shape[1], ROWS))


def badge_of_sets(
    features: NDArray[np.float32],
    label_probs: NDArray[np.float64],
    labeled: NDArray[np.int64],
    budget: int,
    rng: np.random.Generator,
) -> Selection:
    """Draw images whose gradients are far apart, for the most likely label set of each.

    The gradient of Σ of the logistic losses of the labels p ≥ ½ with respect to the weights of the last layer is
    (p − ŷ) hᵀ, as that of the cross-entropy for one class.

    Parameters
    ----------
    features : (n, h) float32
        Inputs of the last layer.
    label_probs : (n, c) float64
        Probability of each label.
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator

    Returns
    -------
    Selection
        Scores: distance to the nearest gradient drawn earlier, inf for the first.
    """
    return draw_apart(features, label_probs - (label_probs >= 0.5), labeled, budget, rng)
