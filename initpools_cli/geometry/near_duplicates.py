"""Near-duplicates: images that are much closer than images usually are around them, in pairs, groups and splits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.chunked import map_blocks
from initpools_cli.geometry.distances import mean_row
from initpools_cli.geometry.duplicates import first_equal
from initpools_cli.geometry.knn import knn
from initpools_cli.geometry.neighbors import nearest_k, search
from initpools_cli.geometry.normalize import unit_rows

#: A pair is near where its distance is at most `RATIO` times that to the `NEIGHBORS`-th nearest image of either one.
#: Precision and recall were measured by `benchmarks/near_duplicates.py`.
NEIGHBORS, RATIO = 10, 0.6
#: That distance counts as at least this share of its median over all images. Otherwise more than `NEIGHBORS` copies of
#: one image would hide each other.
FLOOR = 0.4
#: Near-duplicates across a split are looked for among at least this many images, and this many for each class:
#: among fewer, the nearest images of one class would pass for near-duplicates.
FEWEST, FEWEST_PER_CLASS = 50, 25
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
        near, gap = _listed_pairs(index, gaps)
        pairs, distances = np.concatenate([pairs, near]), np.concatenate([distances, gap])
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
        neighbors, sq_distances = search(points[part], points, NEIGHBORS, shift, np.full(len(part), np.inf), part)
        index[part], gaps[part] = neighbors, np.sqrt(sq_distances)

    map_blocks(block, len(rows), ROWS)


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


def near_across(
    images: NDArray[Any],
    others: NDArray[Any],
    classes: int,
    rng: np.random.Generator,
    own: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.bool_], int]:
    """Mark images that have a near-duplicate among others, such as test images among train images.

    As in `near_pairs`, the distance to the `NEIGHBORS`-th nearest tells what is near. More than `NEIGHBORS` images of
    one patient or video would hide each other. So it is also looked for among a random half of the others, a quarter,
    and so on, down to `FEWEST` and `FEWEST_PER_CLASS`; the result is that with the most near-duplicates.

    Parameters
    ----------
    images, others : (m, d) and (n, d) arrays of numbers
        Without zero rows.
    classes : int
    rng : numpy.random.Generator
        Draws the halves.
    own : (m,) int64, optional
        The row of each image among the others, where it is one of them; an image is no duplicate of itself.

    Returns
    -------
    near : (m,) bool
    among : int
        How many of the others they were found among; 0 if there are too few to tell.
    """
    points, many = unit_rows(images), unit_rows(others)
    fewest = max(FEWEST, FEWEST_PER_CLASS * classes)
    best, among, size, order = np.zeros(len(points), bool), 0, len(many), rng.permutation(len(many))
    while size >= fewest:
        rows = np.sort(order[:size])
        near = _near_one_of(points, many[rows], None if own is None else _places(own, rows))
        if not among or near.sum() > best.sum():
            best, among = near, size
        size //= 2
    return best, among


def _near_one_of(
    points: NDArray[np.float32], others: NDArray[np.float32], own: NDArray[np.int64] | None
) -> NDArray[np.bool_]:
    """Mark points (m, d) that are near one of the others (n, d); `own` is -1 for those that are none of them."""
    index, gaps = nearest_k(points, others, NEIGHBORS + (own is not None))
    if own is not None:
        # The place of the point itself, else the last one, is left out.
        is_other = index != own[:, None]
        is_other[is_other.all(axis=1), -1] = False
        index, gaps = index[is_other].reshape(len(points), NEIGHBORS), gaps[is_other].reshape(len(points), NEIGHBORS)
    floor = FLOOR * np.median(gaps[:, -1])
    nearest, place = np.unique(index[:, 0], return_inverse=True)
    around = nearest_k(others[nearest], others, NEIGHBORS + 1)[1][place, -1]
    near: NDArray[np.bool_] = gaps[:, 0] <= RATIO * np.maximum(np.minimum(gaps[:, -1], around), floor)
    return near


def _places(own: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the places of `own` in `rows` (ascending), -1 for those that are not there."""
    place = np.minimum(np.searchsorted(rows, own), len(rows) - 1)
    return np.where(rows[place] == own, place, -1)
