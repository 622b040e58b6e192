"""Strategy `alfamix`: images whose prediction changes when their features are mixed with those of another class."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from initpools_cli.geometry.chunked import map_blocks
from initpools_cli.geometry.logits import logits_of
from initpools_cli.geometry.normalize import unit_rows
from initpools_cli.strategies.kmeans import kmeans
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, unlabeled_rows

ROWS = 4096


@strategies.register(
    paper="Parvaneh et al. 2022, arXiv:2203.07034", nested=False, cost="n h b", needs_model=True, aliases=("alfa-mix",)
)
def alfamix(
    features: NDArray[np.float32],
    head: NDArray[np.float64],
    labeled: NDArray[np.int64],
    budget: int,
    rng: np.random.Generator,
    labels: NDArray[np.int64] | None = None,
    *,
    epsilon: Annotated[float, Field(ge=0.01, le=1)] = 0.2,
) -> Selection:
    """Cluster images whose class changes when mixed with labeled images; take the image nearest each centroid.

    Features z are mixed with the mean z* of every labeled class in turn, with the shares α = ε/√h · ‖z* − z‖ ∇/(‖∇‖ (z*
    − z)) of the paper's closed form, where ∇ is the gradient of the loss of the predicted class with respect to z. So
    the mixture is z + ε/√h ‖z* − z‖ ∇/‖∇‖: only the farthest class matters, and mixtures need not be computed.

    As in the paper's code, ε is increased in steps of ε, up to 1, until enough images change; the others are drawn at
    random. Clusters are computed on normalized features. Unlike there, all images are candidates if there are no
    labeled ones.

    Parameters
    ----------
    features : (n, h) float32
        Inputs of the last layer.
    head : (h + 1, c) float64
        Weights of the last layer, with the bias as the last row.
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator
    labels : (n,) int64, optional
        Bought labels, -1 elsewhere; default: predicted classes.
    epsilon : float
        Step of ε.

    Returns
    -------
    Selection
        With clusters, if enough images change class.
    """
    rows = unlabeled_rows(len(features), labeled)
    epsilons = np.zeros(len(rows))
    if len(labeled):
        logits = logits_of(features, head)
        classes = logits.argmax(axis=1)
        if labels is not None:
            known_rows = labeled[labels[labeled] >= 0]
            classes[known_rows] = labels[known_rows]
        epsilons = smallest_epsilon(features, logits, head, class_means(features[labeled], classes[labeled]))[rows]
    for step in range(1, int(np.ceil(1 / epsilon)) + 1):
        changes = epsilons < min(step * epsilon, 1.0)
        if np.count_nonzero(changes) >= budget:
            candidates = rows[changes]
            clustering = kmeans(unit_rows(features[candidates]), np.empty(0, np.int64), budget, rng)
            return Selection(candidates[clustering.indices], clusters=clustering.clusters)
    first = rows[changes][np.argsort(epsilons[changes], kind="stable")]
    rest = rng.choice(rows[~changes], budget - len(first), replace=False)
    return Selection(np.concatenate([first, rest]))


def class_means(features: NDArray[np.float32], classes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Compute the mean features of each class present, ascending: (k, h) from (m, h) and (m,)."""
    return np.array([features[classes == each].mean(axis=0, dtype=np.float64) for each in np.unique(classes)])


def smallest_epsilon(
    features: NDArray[np.float32],
    logits: NDArray[np.float64],
    head: NDArray[np.float64],
    anchors: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Compute the smallest ε at which the mixture with some anchor changes class, in closed form; inf if none does.

    Parameters
    ----------
    features : (n, h) float32
    logits : (n, c) float64
    head : (h + 1, c) float64
    anchors : (k, h) float64

    Returns
    -------
    (n,) float64
    """
    weights = head[:-1]
    gram = weights.T @ weights
    squares = np.einsum("ij,ij->i", anchors, anchors)

    def smallest(span: slice) -> NDArray[np.float64]:
        block, z = logits[span], features[span].astype(np.float64)
        own = block.argmax(axis=1)[:, None]
        # The error of the predicted class is minus the sum of the others, because 1 − p would round to 0.
        error = np.exp(block - block.max(axis=1, keepdims=True))
        error /= error.sum(axis=1, keepdims=True)
        np.put_along_axis(error, own, 0.0, axis=1)
        np.put_along_axis(error, own, -error.sum(axis=1, keepdims=True), axis=1)
        error /= np.maximum(np.abs(error).max(axis=1, keepdims=True), np.finfo(float).tiny)
        slope = error @ gram
        length = np.sqrt(np.maximum(np.einsum("ij,ij->i", slope, error), 0.0))
        gains = slope - np.take_along_axis(slope, own, axis=1)
        behind = np.take_along_axis(block, own, axis=1) - block
        overtakes = gains > 0
        shares = np.divide(behind, gains, out=np.full_like(block, np.inf), where=overtakes).min(axis=1)
        steps = np.multiply(shares, length, out=shares, where=np.isfinite(shares))
        away = np.einsum("ij,ij->i", z, z)[:, None] + squares - 2 * (z @ anchors.T)
        reach = np.sqrt(np.maximum(away.max(axis=1), 0.0) / z.shape[1])
        return np.divide(steps, reach, out=np.full(len(z), np.inf), where=reach > 0)

    return np.concatenate(map_blocks(smallest, len(features), ROWS))
