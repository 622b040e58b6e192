"""ProbCover: balls of one radius around the picks that hold as many images as possible."""

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
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, go_on_by_distance


def refuse_radius(arrays: Mapping[str, NDArray[Any]], knobs: Mapping[str, Any]) -> None:
    """Refuse a given delta at which no image, or one alone, stands for all others.

    Raises
    ------
    UserError
        With the range that makes sense.
    """
    embeddings, delta = arrays["embeddings"], knobs["delta"]
    n = len(embeddings)
    # Who is given a model goes on from delta to radii of its own.
    if not delta or n == 1 or "probs" in arrays:
        return
    middle = np.sqrt(distances_to(embeddings, embeddings[nearest_to_mean(embeddings)])).max()
    if middle < delta:
        fact = f"delta={delta:g} covers everything: the image nearest the mean has all {n} within {middle:.3g}."
    elif not Balls(embeddings, delta).any_contains_other():
        fact = f"delta={delta:g} covers nothing: no two of {n} images are nearer than that."
    else:
        return
    gaps = knn(embeddings, 1)[1]
    raise UserError(
        fact,
        f"Nearest neighbors are {gaps.min():.3g} to {gaps.max():.3g} apart, half of them up to {np.median(gaps):.3g}: "
        f"set delta above that and below {middle:.3g}, or 0 to have it chosen.",
    )


@strategies.register(
    paper="Yehuda et al. 2022, arXiv:2205.11320", nested=True, cost="n² d", factor=4.0, check=refuse_radius
)
def probcover(
    embeddings: NDArray[np.float32],
    labeled: NDArray[np.int64],
    budget: int,
    rng: np.random.Generator,
    *,
    delta: Factor = 0.0,
    n_clusters: PositiveCount = 20,
    alpha: Factor = 0.95,
) -> Selection:
    """Take the image with the most images nearer than delta that are near no pick yet, and so on.

    Needs memory for the embeddings only, as no graph is kept. Deviations: once every image is near a pick it goes on
    by the largest distance to the nearest pick, where the paper's code repeats itself; delta is not looked up on a
    grid but the largest there is (`pure_radius`).

    Parameters
    ----------
    embeddings : (n, d) float32
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator
        For the clusters.
    delta : float
        In the embeddings' unit; 0 means the largest at which a share `alpha` of the balls lies within one cluster.
    n_clusters : int
        Of k-means, where delta is 0; best the number of classes.
    alpha : float

    Returns
    -------
    Selection
        Scores: how many images each covers first; 0 from where all are.
    """
    radius = delta or pure_radius(embeddings, n_clusters, alpha, rng)
    picks, gains = greedy_cover(embeddings, radius, budget, labeled)
    return go_on_by_distance(embeddings, labeled, picks, gains.astype(np.float64), budget)


def pure_radius(points: NDArray[np.float32], n_clusters: int, alpha: float, rng: np.random.Generator) -> float:
    """The largest radius at which at least a share `alpha` of the balls holds rows of one k-means cluster only.

    A ball is pure up to the distance of the nearest row of another cluster, so the answer is one of those distances.

    Parameters
    ----------
    points : (n, d) float32
    n_clusters : int
    alpha : float
        Shares above 1 are taken for 1.
    rng : numpy.random.Generator

    Returns
    -------
    float
        > 0; inf where there is one cluster.
    """
    n = len(points)
    labels = kmeans(points, min(n_clusters, n), rng).labels
    impure = min(int((1 - min(alpha, 1.0)) * n + 1e-9), n - 1)
    return enemy_distance(points, labels, impure)
