"""Strategy `probcover`: maximum coverage by balls of one radius around the picks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.bounds import Factor, PositiveCount
from initpools_cli.core.errors import UserError
from initpools_cli.geometry.distances import distances_to
from initpools_cli.geometry.farthest_first import nearest_to_mean
from initpools_cli.geometry.kmeans import kmeans
from initpools_cli.geometry.knn import knn
from initpools_cli.geometry.max_coverage import Balls, greedy_cover
from initpools_cli.geometry.nearest_enemy import enemy_distance
from initpools_cli.strategies.objective_sample import ObjectiveSample
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, fill_by_distance


def refuse_radius(arrays: Mapping[str, NDArray[Any]], knobs: Mapping[str, Any]) -> None:
    """Refuse a delta at which one ball covers all images, or every ball covers only its center.

    Raises
    ------
    UserError
        With the range of useful values.
    """
    embeddings, delta = arrays["embeddings"], knobs["delta"]
    n = len(embeddings)
    # With a model, `dcom` only starts from delta.
    if not delta or n == 1 or "probs" in arrays:
        return
    middle = np.sqrt(distances_to(embeddings, embeddings[nearest_to_mean(embeddings)])).max()
    if middle < delta:
        fact = f"delta={delta:g} is too large: one ball covers all {n} images, within {middle:.3g} of its center."
    elif not Balls(embeddings, delta).any_contains_other():
        fact = f"delta={delta:g} is too small: no two of the {n} images are closer than that."
    else:
        return
    gaps = knn(embeddings, 1)[1]
    raise UserError(
        fact,
        f"Nearest neighbors are {gaps.min():.3g} to {gaps.max():.3g} apart, with median {np.median(gaps):.3g}: "
        f"set delta between the median and {middle:.3g}, or to 0 to choose it automatically.",
        f"{delta:g}",
    )


@strategies.register(
    paper="Yehuda et al. 2022, arXiv:2205.11320",
    nested=True,
    cost="n² d",
    factor=4.0,
    partitions=True,
    check=refuse_radius,
)
def probcover(
    embeddings: NDArray[np.float32],
    labeled: NDArray[np.int64],
    budget: int,
    rng: np.random.Generator,
    sample: ObjectiveSample | None = None,
    *,
    delta: Factor = 0.0,
    n_clusters: PositiveCount = 20,
    alpha: Factor = 0.95,
) -> Selection:
    """Take the image whose ball of radius delta contains the most images not covered by earlier picks.

    Memory is needed for the embeddings only, because no graph is stored.

    Differences from the paper and its code:

    - Once all images are covered, it continues with the image farthest from all picks, where the code starts again.
    - delta is not searched on a grid, but is the largest pure radius (`pure_radius`).

    Parameters
    ----------
    embeddings : (n, d) float32
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator
        Initializes k-means.
    sample : ObjectiveSample, optional
        Images to cover, and those that may be picked; default: all.
    delta : float
        In the embeddings' unit; 0 means the largest at which a share `alpha` of the balls lies within one cluster.
    n_clusters : int
        Number of k-means clusters if delta is 0; best the number of classes.
    alpha : float
        Share of the balls that must lie within one cluster if delta is 0.

    Returns
    -------
    Selection
        Scores: number of images newly covered; 0 once all are covered.
    """
    if sample is None:
        targets, candidates, each = None, None, 1.0
    else:
        targets, candidates, each = sample.weights > 0, sample.candidates, float(sample.weights.max())
    radius = delta or pure_radius(embeddings if targets is None else embeddings[targets], n_clusters, alpha, rng)
    picks, gains = greedy_cover(embeddings, radius, budget, labeled, targets=targets, candidates=candidates)
    return fill_by_distance(embeddings, labeled, picks, gains.astype(np.float64) * each, budget, candidates)


def pure_radius(points: NDArray[np.float32], n_clusters: int, alpha: float, rng: np.random.Generator) -> float:
    """Compute the largest radius at which at least a share `alpha` of the balls lies within one k-means cluster.

    A ball is pure up to the distance of the nearest row of another cluster, so the answer is one of those distances.

    Parameters
    ----------
    points : (n, d) float32
    n_clusters : int
    alpha : float
        Values above 1 count as 1.
    rng : numpy.random.Generator

    Returns
    -------
    float
        > 0; inf if there is only one cluster.
    """
    n = len(points)
    labels = kmeans(points, min(n_clusters, n), rng).labels
    impure = min(int((1 - min(alpha, 1.0)) * n + 1e-9), n - 1)
    return enemy_distance(points, labels, impure)
