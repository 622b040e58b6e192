"""Strategy `clue`: k-means of features, weighted by the entropy of the prediction."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.bounds import PositiveFactor
from initpools_cli.geometry.kmeans import kmeans
from initpools_cli.geometry.neighbors import nearest_free
from initpools_cli.strategies.entropy import entropies
from initpools_cli.strategies.multilabel import label_entropies
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, unlabeled_rows
from initpools_cli.strategies.uherding import tempered

# The weight of an image with a certain prediction, which has an entropy of 0.
LEAST = 1e-7


def clue_of_sets(
    features: NDArray[np.float32],
    label_probs: NDArray[np.float64],
    labeled: NDArray[np.int64],
    budget: int,
    rng: np.random.Generator,
    *,
    temperature: PositiveFactor = 1.0,
) -> Selection:
    """Cluster features by k-means, weighted by the entropy of the label set; take the image nearest each centroid.

    The labels of an image are independent given the image, so that this entropy is the sum of those of its labels.

    Parameters
    ----------
    features : (n, h) float32
        Inputs of the last layer.
    label_probs : (n, c) float64
        Probability of each label.
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator
    temperature : float
        By which the logit of each label is divided.

    Returns
    -------
    Selection
        With clusters. Scores: minus the distance to the centroid.
    """
    both = np.stack([label_probs, 1 - label_probs], axis=-1)
    shape, pairs = label_probs.shape, both.reshape(-1, 2)
    softer = tempered(pairs, temperature)[:, 0].reshape(shape)
    return nearest_to_centroids(features, label_entropies(softer).sum(axis=1), labeled, budget, rng)


@strategies.register(
    paper="Prabhu et al. 2021, arXiv:2010.08666", nested=False, cost="b n h", needs_model=True, multilabel=clue_of_sets
)
def clue(
    features: NDArray[np.float32],
    probs: NDArray[np.float64],
    labeled: NDArray[np.int64],
    budget: int,
    rng: np.random.Generator,
    *,
    temperature: PositiveFactor = 1.0,
) -> Selection:
    """Cluster features by k-means, weighted by the entropy of the prediction; take the image nearest each centroid.

    Only unlabeled images are clustered.

    Differences from the authors' code:

    - k-means starts once and stops after at most 25 iterations, where the code's (scikit-learn's) starts ten times.
    - Clusters with a larger sum of weights pick first. If the nearest image of a cluster is taken, the next nearest is
      picked; the code takes the second nearest of all clusters in order of index.
    - The weight of an image is at least 1e-7, where the code adds 1e-8 to each probability.

    Parameters
    ----------
    features : (n, h) float32
        Inputs of the last layer.
    probs : (n, c) float64
        Rows sum to 1.
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator
    temperature : float
        Probabilities are replaced by p^(1/temperature), normalized to sum to 1: below 1, only the most uncertain images
        have weight.

    Returns
    -------
    Selection
        With clusters. Scores: minus the distance to the centroid.
    """
    return nearest_to_centroids(features, entropies(tempered(probs, temperature)), labeled, budget, rng)


def nearest_to_centroids(
    features: NDArray[np.float32],
    uncertainty: NDArray[np.float64],
    labeled: NDArray[np.int64],
    budget: int,
    rng: np.random.Generator,
) -> Selection:
    """Take the unlabeled image nearest each centroid of weighted k-means, those of the largest sum of weights first."""
    rows = unlabeled_rows(len(features), labeled)
    points, weights = np.ascontiguousarray(features[rows]), np.maximum(uncertainty[rows], LEAST)
    clusters = kmeans(points, budget, rng, weights=weights)
    by_weight = np.argsort(-np.bincount(clusters.labels, weights=weights, minlength=budget), kind="stable")
    indices, distances = nearest_free(clusters.centroids[by_weight], points, np.empty(0, np.int64))
    return Selection(rows[indices], scores=-distances, clusters=by_weight)
