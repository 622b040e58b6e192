"""Strategy `dropquery`: images whose prediction changes under feature dropout, diversified by k-means."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from initpools_cli.core.bounds import PositiveCount
from initpools_cli.core.seeds import generator
from initpools_cli.geometry.chunked import map_blocks
from initpools_cli.geometry.logits import logits_of
from initpools_cli.geometry.normalize import unit_rows
from initpools_cli.strategies.kmeans import kmeans
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, unlabeled_rows

ROWS = 1024
# Number of candidates per image of the budget.
CANDIDATES = 25


@strategies.register(
    paper="Gupte et al. 2024, arXiv:2401.14555", nested=False, cost="n h b", needs_model=True, revision=2
)
def dropquery(
    features: NDArray[np.float32],
    head: NDArray[np.float64],
    labeled: NDArray[np.int64],
    budget: int,
    rng: np.random.Generator,
    *,
    passes: PositiveCount = 3,
    rate: Annotated[float, Field(ge=0, lt=1)] = 0.75,
) -> Selection:
    """Cluster images whose predicted class changes in most dropout passes; take the image nearest each centroid.

    In each pass features are dropped with probability `rate`, independent of dropout in training. If fewer than 25
    times the budget change in most passes, images that change in fewer passes are added, one pass less at a time, down
    to a single pass. The features of the candidates are L2-normalized and clustered by k-means.

    If there are fewer candidates than the budget, all of them are taken, those that change in more passes first, and
    the others at random.

    Differences from the authors' code: k-means stops after at most 25 iterations, not 100, and larger clusters pick
    first.

    Parameters
    ----------
    features : (n, h) float32
        Inputs of the last layer.
    head : (h + 1, c) float64
        Weights of the last layer, with the bias as the last row.
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator
    passes : int
        Number of passes.
    rate : float
        Probability that a feature is dropped.

    Returns
    -------
    Selection
        With clusters and scores (minus the distance to the centroid), unless there are fewer candidates than the
        budget.
    """
    changes = disagreements(features, head, passes, rate, rng)
    rows = unlabeled_rows(len(features), labeled)
    least = passes // 2 + 1
    while least > 1 and np.count_nonzero(changes[rows] >= least) < CANDIDATES * budget:
        least -= 1
    candidates = rows[changes[rows] >= least]
    if len(candidates) < budget:
        first = candidates[np.argsort(-changes[candidates], kind="stable")]
        rest = rng.choice(rows[changes[rows] < least], budget - len(first), replace=False)
        return Selection(np.concatenate([first, rest]))
    clustering = kmeans(unit_rows(features[candidates]), np.empty(0, np.int64), budget, rng)
    return Selection(candidates[clustering.indices], scores=clustering.scores, clusters=clustering.clusters)


def disagreements(
    features: NDArray[np.float32], head: NDArray[np.float64], passes: int, rate: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Count the dropout passes in which the predicted class differs from that without dropout.

    Parameters
    ----------
    features : (n, h) float32
    head : (h + 1, c) float64
    passes : int
    rate : float
        Probability of dropping a feature; the others are scaled by 1 / (1 − rate).
    rng : numpy.random.Generator

    Returns
    -------
    (n,) int64
    """
    predictions = logits_of(features, head).argmax(axis=1)
    weights, bias = head[:-1] / (1 - rate), head[-1]
    seed = int(rng.integers(2**63))

    def count(span: slice) -> NDArray[np.int64]:
        draws, block = generator(seed, span.start), features[span]
        changes = np.zeros(len(block), np.int64)
        for _ in range(passes):
            inputs = block * (draws.random(block.shape, np.float32) >= rate)
            changes += (inputs @ weights + bias).argmax(axis=1) != predictions[span]
        return changes

    return np.concatenate(map_blocks(count, len(features), ROWS))
