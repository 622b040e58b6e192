"""How far images are from a pool, and the picks of a pool from each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.chunked import map_blocks
from initpools_cli.geometry.distances import Floats, Indices, mean_row, squared_distances
from initpools_cli.geometry.knn import knn
from initpools_cli.geometry.neighbors import nearest

#: Products of a block of images with all picks, numbers.
BLOCK = 2**21
# Squared distances below this share of the largest there can be are what rounding may leave of 0.
ROUNDING = 1e-11


def gaps_between(picks: Floats, labeled: Floats) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The distance of each pick to the nearest other pick or labeled image.

    Parameters
    ----------
    picks : (b, d) float32
        In order of choice.
    labeled : (l, d) float32

    Returns
    -------
    gap : (b,) float64
        inf where there is no other.
    repeated : (b,) bool
        Whether a labeled image or an earlier pick is exactly the same.
    """
    gap, other = np.full(len(picks), np.inf), np.zeros(len(picks), np.int64)
    if len(picks) > 1:
        # Of equally near ones the lowest comes first, so among copies each but the first finds an earlier one.
        index, distance = knn(picks, 1)
        other, gap = index[:, 0], distance[:, 0]
    repeated = (gap == 0) & (other < np.arange(len(picks)))
    if len(labeled):
        known = nearest(picks, labeled)[1]
        repeated |= known == 0
        gap = np.minimum(gap, known)
    return gap, repeated


def nearest_of_pools(
    queries: Floats, points: Floats, pools: list[Indices], threads: int | None = None
) -> NDArray[np.float64]:
    """The distance of every query to the nearest pick of each of many pools, in one pass over the queries.

    Each point that is in any pool is multiplied with the queries once, in float64; what may be 0 is measured by
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
    found = np.empty((len(pools), len(queries)))

    def measure(span: slice) -> None:
        block = queries[span]
        rows = np.subtract(block, shift, dtype=np.float64)
        own = np.einsum("ij,ij->i", rows, rows)
        products = rows @ (-2 * centered.T)
        products += norms
        unsure = ROUNDING * (np.sqrt(own) + np.sqrt(norms.max())) ** 2
        for place, column in enumerate(columns):
            inside = products[:, column]
            winner = inside.argmin(axis=1)
            squared = inside[np.arange(len(block)), winner] + own
            near = np.flatnonzero(squared <= unsure)
            squared[near] = squared_distances(block[near], points[pools[place][winner[near]]])
            found[place, span] = np.sqrt(squared)

    map_blocks(measure, len(queries), int(np.clip(BLOCK // len(union), 16, 4096)), threads)
    return found
