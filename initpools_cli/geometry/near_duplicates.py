"""Near-duplicates: pairs of images that are much closer than images usually are around them, and their groups."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.chunked import map_blocks
from initpools_cli.geometry.distances import mean_row
from initpools_cli.geometry.duplicates import first_equal
from initpools_cli.geometry.knn import knn
from initpools_cli.geometry.neighbors import search
from initpools_cli.geometry.normalize import unit_rows

#: A pair is near where its distance is at most `RATIO` times that to the `NEIGHBORS`-th nearest image of either one.
#: Precision and recall were measured by `benchmarks/near_duplicates.py`.
NEIGHBORS, RATIO = 10, 0.6
#: That distance counts as at least this share of its median over all images. Otherwise more than `NEIGHBORS` copies of
#: one image would hide each other.
FLOOR = 0.4
# Rows per block of the exact search after an approximate one.
ROWS = 256


def near_pairs(embeddings: NDArray[Any], *, probes: int = 0) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Find the near-duplicates among the rows of `embeddings`.

    Distances are those of rows scaled to length 1. What is near depends on the distances around a pair, since encoders
    differ in scale and regions in density: among drawn ones, different images are closer than copies among photographs.

    Parameters
    ----------
    embeddings : (n, d) array of numbers
        Without zero rows.
    probes : int
        As for `knn`: 0 is exact; else faster, and a few pairs may be missed. Those that are found are checked against
        all rows.

    Returns
    -------
    pairs : (m, 2) int64
        Rows, the lower one first; ascending. Each row is compared with its `NEIGHBORS` nearest ones, so of a large
        group not every pair is listed. With at most `NEIGHBORS` rows, only pairs of equal rows.
    distances : (m,) float64
        Between rows of length 1; the cosine similarity is 1 − d² / 2.
    """
    points = unit_rows(embeddings)
    n = len(points)
    first = first_equal(points)
    copies = np.flatnonzero(first != np.arange(n))
    pairs, distances = np.column_stack([first[copies], copies]), np.zeros(len(copies))
    if n > NEIGHBORS:
        index, gaps = knn(points, NEIGHBORS, probes=probes)
        if probes:
            _search_again(points, index, gaps)
        found, gap = _listed_pairs(index, gaps)
        pairs, distances = np.concatenate([pairs, found]), np.concatenate([distances, gap])
    pairs, place = np.unique(pairs, axis=0, return_index=True)
    return pairs.astype(np.int64), distances[place]


def _listed_pairs(index: NDArray[np.int64], gaps: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the near pairs among rows and their nearest ones, perhaps twice, and their distances."""
    scale = np.maximum(gaps[:, -1], FLOOR * np.median(gaps[:, -1]))
    row, other, gap = np.repeat(np.arange(len(index)), NEIGHBORS), index.ravel(), gaps.ravel()
    near = gap <= RATIO * np.minimum(scale[row], scale[other])
    return np.sort(np.column_stack([row[near], other[near]]), axis=1), gap[near]


def _search_again(points: NDArray[np.float32], index: NDArray[np.int64], gaps: NDArray[np.float64]) -> None:
    """Replace the approximate neighbors of rows in near pairs by the exact ones, in place."""
    rows, shift = np.unique(_listed_pairs(index, gaps)[0]), mean_row(points).astype(np.float32)

    def block(span: slice) -> None:
        part = rows[span]
        found, squared = search(points[part], points, NEIGHBORS, shift, np.full(len(part), np.inf), part)
        index[part], gaps[part] = found, np.sqrt(squared)

    map_blocks(block, len(rows), ROWS)


def near_pairs_between(
    first: NDArray[Any], second: NDArray[Any], *, probes: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Find the near-duplicates between two sets, such as train and test: `near_pairs` of both together.

    Parameters
    ----------
    first, second : (n, d) and (m, d) arrays of numbers
        Without zero rows.
    probes : int

    Returns
    -------
    pairs : (k, 2) int64
        A row of `first` and a row of `second`.
    distances : (k,) float64
    """
    pairs, distances = near_pairs(np.concatenate([first, second]), probes=probes)
    across = (pairs[:, 0] < len(first)) & (pairs[:, 1] >= len(first))
    return pairs[across] - np.array([0, len(first)]), distances[across]


def groups_of(pairs: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Join pairs into groups: rows that are connected by a chain of pairs are in one group.

    Parameters
    ----------
    pairs : (m, 2) int64
    n : int
        The number of rows.

    Returns
    -------
    (n,) int64
        The lowest row of each row's group; the row itself where it is in no pair.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    _, member = connected_components(edges, directed=False)
    _, lowest = np.unique(member, return_index=True)
    return lowest[member].astype(np.int64)
