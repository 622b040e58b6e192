"""Strategy `usl`: a dense image of each cluster, far from the picks of other clusters."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from initpools_cli.core.bounds import Count, Factor, Passes, PositiveCount, PositiveFactor
from initpools_cli.geometry.chunked import map_blocks
from initpools_cli.geometry.kmeans import kmeans
from initpools_cli.geometry.knn import approximate_revision, each_neighborhood
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, ranks_within, unlabeled_rows

ROWS = 512
# Lower limit of squared distances, so that densities and nearness of duplicates are finite.
TOUCHING = 1e-12


@strategies.register(
    paper="Wang, Lian & Yu 2022, arXiv:2110.03006",
    nested=False,
    cost="n² d + t b n d",
    factor=3.0,
    revision=approximate_revision,
)
def usl(
    embeddings: NDArray[np.float32],
    labeled: NDArray[np.int64],
    budget: int,
    rng: np.random.Generator,
    *,
    neighbors: PositiveCount = 400,
    weight: Factor = 0.5,
    alpha: PositiveFactor = 0.5,
    momentum: Annotated[float, Field(ge=0, le=1)] = 0.9,
    iterations: Passes = 10,
    horizon: PositiveFactor = 4.0,
    probes: Count = 0,
) -> Selection:
    """Take the image with the largest density − weight × nearness in each of as many k-means clusters as the budget.

    Density is 1 / mean squared distance to the nearest images, the image itself included. Nearness is a moving average
    over the iterations, from 0, of Σ 1 / squared distance^alpha to picks of other clusters within the horizon. Picks
    and nearness are updated in turn. Defaults are those of the paper's code for CIFAR-10; for ImageNet it uses 20
    neighbors.

    Differences from the paper's code:

    - Nearness to labeled images counts in all clusters, their own included.
    - If clusters are empty or completely labeled, second picks of other clusters fill the budget.
    - At most half of the other images are neighbors.

    Parameters
    ----------
    embeddings : (n, d) float32
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator
        Initializes k-means.
    neighbors : int
        Number of nearest images for density.
    weight : float
        Weight of nearness against density.
    alpha : float
        Exponent of the squared distance in nearness.
    momentum : float
        Weight of the previous nearness.
    iterations : int
        Number of updates of picks and nearness.
    horizon : float
        Largest squared distance that counts in nearness.
    probes : int
        0: exact. Else approximate and faster: neighbors are searched in this many of about 2 √n lists of nearby images.

    Returns
    -------
    Selection
        With clusters. Scores: density − weight × nearness.
    """
    n = len(embeddings)
    clusters = kmeans(embeddings, budget, rng).labels
    rows = unlabeled_rows(n, labeled)
    density = densities(embeddings, neighbors, probes)
    near = np.zeros(n)
    for iteration in range(iterations):
        value = density - weight * near
        # Sorted by cluster, the best of each first.
        order = rows[np.lexsort((-value[rows], clusters[rows]))]
        turn = ranks_within(clusters[order])
        if iteration + 1 < iterations:
            sources = np.concatenate([order[turn == 0], labeled])
            owners = np.concatenate([clusters[order[turn == 0]], np.full(len(labeled), -1)])
            near *= momentum
            near += (1 - momentum) * nearness(embeddings, clusters, sources, owners, alpha, horizon)
    picks = order[np.argsort(turn, kind="stable")[:budget]]
    return Selection(picks, scores=value[picks], clusters=clusters[picks])


def densities(points: NDArray[np.float32], neighbors: int, probes: int = 0) -> NDArray[np.float64]:
    """Compute 1 / mean squared distance (n,) to the nearest rows, the row itself included; 0 for a single row."""
    n = len(points)
    if n == 1:
        return np.zeros(1)
    others = max(1, min(neighbors - 1, n // 2))
    density = np.empty(n)

    def take(rows: NDArray[np.int64] | slice, _: NDArray[np.int64], sq_distances: NDArray[np.float64]) -> None:
        density[rows] = 1 / np.maximum(sq_distances.sum(axis=1) / (others + 1), TOUCHING)

    each_neighborhood(points, others, take, probes=probes)
    return density


def nearness(
    points: NDArray[np.float32],
    clusters: NDArray[np.int64],
    sources: NDArray[np.int64],
    owners: NDArray[np.int64],
    alpha: float,
    horizon: float,
) -> NDArray[np.float64]:
    """Compute Σ 1 / squared distance^alpha (n,) to `sources` of other clusters within the horizon."""
    others = points[sources].astype(np.float64)
    squares = np.einsum("ij,ij->i", others, others)

    def part(span: slice) -> NDArray[np.float64]:
        rows = points[span].astype(np.float64)
        gaps = rows @ (-2 * others.T)
        gaps += squares
        gaps += np.einsum("ij,ij->i", rows, rows)[:, None]
        counts = (clusters[span, None] != owners) & (gaps < horizon)
        return np.where(counts, np.maximum(gaps, TOUCHING) ** -alpha, 0.0).sum(axis=1)

    return np.concatenate(map_blocks(part, len(points), ROWS))
