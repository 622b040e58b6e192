"""Distances of images from pools, and between the picks of a pool."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.chunked import map_blocks
from initpools_cli.geometry.distances import Floats, Indices, mean_row, squared_distances
from initpools_cli.geometry.knn import knn
from initpools_cli.geometry.neighbors import nearest

# Number of products per block of images.
BLOCK = 2**21
# Squared distances below this share of their upper bound may be 0 up to rounding.
ROUNDING = 1e-11


def pick_distances(picks: Floats, labeled: Floats) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Compute the distance of each pick to the nearest other pick or labeled image.

    Parameters
    ----------
    picks : (b, d) float32
        In order of choice.
    labeled : (l, d) float32

    Returns
    -------
    gap : (b,) float64
        inf if there is no other.
    repeated : (b,) bool
        Whether a labeled image or an earlier pick has exactly the same embedding.
    """
    gap, other = np.full(len(picks), np.inf), np.zeros(len(picks), np.int64)
    if len(picks) > 1:
        # Ties go to the lowest index, so every copy but the first has an earlier copy as its neighbor.
        index, distance = knn(picks, 1)
        other, gap = index[:, 0], distance[:, 0]
    is_copy = (gap == 0) & (other < np.arange(len(picks)))
    if len(labeled):
        to_labeled = nearest(picks, labeled)[1]
        is_copy |= to_labeled == 0
        gap = np.minimum(gap, to_labeled)
    return gap, is_copy


def distances_to_pools(
    queries: Floats, points: Floats, pools: list[Indices], threads: int | None = None
) -> NDArray[np.float64]:
    """Compute the distance of every query to the nearest pick of each pool, in one pass over the queries.

    Each point of any pool is multiplied with the queries once, in float64; distances near 0 are recomputed by
    differences.

    Parameters
    ----------
    queries : (m, d) float32
    points : (n, d) float32
    pools : list of (b,) int64
        Rows of `points`, at least one each.
    threads : int, optional

    Returns
    -------
    (p, m) float64
        Euclidean; off by less than 1e-6 of the diameter near 0, and by rounding elsewhere.
    """
    union = np.unique(np.concatenate(pools))
    columns = [np.searchsorted(union, pool) for pool in pools]
    shift = mean_row(points[union], threads)
    centered = np.subtract(points[union], shift, dtype=np.float64)
    norms = np.einsum("ij,ij->i", centered, centered)
    distances = np.empty((len(pools), len(queries)))

    def measure(span: slice) -> None:
        block = queries[span]
        rows = np.subtract(block, shift, dtype=np.float64)
        own = np.einsum("ij,ij->i", rows, rows)
        products = rows @ (-2 * centered.T)
        products += norms
        uncertain = ROUNDING * (np.sqrt(own) + np.sqrt(norms.max())) ** 2
        for place, column in enumerate(columns):
            inside = products[:, column]
            winner = inside.argmin(axis=1)
            sq_distances = inside[np.arange(len(block)), winner] + own
            near = np.flatnonzero(sq_distances <= uncertain)
            sq_distances[near] = squared_distances(block[near], points[pools[place][winner[near]]])
            distances[place, span] = np.sqrt(sq_distances)

    map_blocks(measure, len(queries), int(np.clip(BLOCK // len(union), 16, 4096)), threads)
    return distances
