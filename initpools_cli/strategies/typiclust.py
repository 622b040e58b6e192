"""Strategy `typiclust`: the most typical image of each cluster without labels."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from functools import partial
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from initpools_cli.core.bounds import Count, PositiveCount
from initpools_cli.core.schema import ADDED
from initpools_cli.geometry.density import SMALL as ALL_PAIRS
from initpools_cli.geometry.density import most_typical, typicality
from initpools_cli.geometry.kmeans import kmeans
from initpools_cli.geometry.rows import map_subsets
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection

SMALL = 5


@strategies.register(
    paper="Hacohen, Dekel & Weinshall 2022, arXiv:2202.02794", nested=False, cost="n d k", by_rows=True, factor=40.0
)
def typiclust(
    embeddings: NDArray[np.float32],
    labeled: NDArray[np.int64],
    budget: int,
    rng: np.random.Generator,
    *,
    neighbors: PositiveCount = 20,
    max_clusters: PositiveCount = 500,
    distance: Literal["l2", "l2sq"] = "l2",
    probes: Annotated[Count, Field(json_schema_extra=ADDED)] = 0,
) -> Selection:
    """Take the most typical image of the largest cluster with the fewest labels and picks, and repeat.

    The number of clusters is that of labeled images plus budget. The next cluster is always the one with the fewest
    labels and picks; of equals, the largest, then the first.

    Differences from the authors' code:

    - Clusters are sorted again after each pick. The code sorts them once and cycles through them, so a cluster with
      labels may get its second pick before others have as many.
    - Clusters of up to 5 images come last, so that any budget is possible. The code never uses them.
    - Typicality is computed once, among the unlabeled images of the cluster, not after each pick.

    Parameters
    ----------
    embeddings : (n, d) float32
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator
    neighbors : int
        Number of neighbors for typicality; at most half of the cluster.
    max_clusters : int
        Largest number of clusters.
    distance : {"l2", "l2sq"}
        Euclidean as in the paper, or squared as in its code.
    probes : int
        0: exact. Else approximate and faster: in clusters of more than 2,048 images, neighbors are searched in this
        many of about 2 √n lists of nearby images.

    Returns
    -------
    Selection
        With clusters. Scores: typicality.
    """
    n = len(embeddings)
    k = min(len(labeled) + budget, max_clusters, n)
    clusters = kmeans(embeddings, k, rng).labels
    has_label = np.zeros(n, bool)
    has_label[labeled] = True
    sizes = np.bincount(clusters, minlength=k)
    covered = np.bincount(clusters[labeled], minlength=k)
    free = np.flatnonzero(~has_label)
    order = free[np.argsort(clusters[free], kind="stable")]
    members = np.split(order, np.searchsorted(clusters[order], np.arange(1, k)))

    firsts = map_subsets(partial(_first, neighbors=neighbors, distance=distance, probes=probes), embeddings, members)
    later: dict[int, Iterator[tuple[int, float]]] = {}

    def next_of(cluster: int) -> tuple[int, float]:
        rows = members[cluster]
        if cluster not in later:
            place, value = firsts[cluster]
            later[cluster] = _after_the_first(embeddings, rows, neighbors, distance, probes)
        else:
            place, value = next(later[cluster])
        return int(rows[place]), value

    waiting = [(sizes[c] <= SMALL, covered[c], -sizes[c], c) for c in range(k) if covered[c] < sizes[c]]
    heapq.heapify(waiting)
    picks, scores = np.empty(budget, np.int64), np.empty(budget)
    for place in range(budget):
        small, count, size, cluster = heapq.heappop(waiting)
        picks[place], scores[place] = next_of(cluster)
        if count + 1 < -size:
            heapq.heappush(waiting, (small, count + 1, size, cluster))
    return Selection(picks, scores=scores, clusters=clusters[picks])


def _first(
    points: NDArray[np.float32], neighbors: int, distance: Literal["l2", "l2sq"], probes: int
) -> tuple[int, float]:
    return most_typical(points, neighbors, distance, probes) if len(points) else (0, 0.0)


def _after_the_first(
    points: NDArray[np.float32], rows: NDArray[np.int64], neighbors: int, distance: Literal["l2", "l2sq"], probes: int
) -> Iterator[tuple[int, float]]:
    """Yield positions in `rows` and typicality in descending order, without the first; computed on first use."""
    values = typicality(points[rows], neighbors, distance, probes if len(rows) > ALL_PAIRS else 0)
    for place in np.argsort(-values, kind="stable")[1:]:
        yield int(place), float(values[place])
