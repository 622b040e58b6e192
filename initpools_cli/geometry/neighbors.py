"""Exact nearest neighbors: candidates by float32 products, exact distances in float64."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.chunked import map_blocks
from initpools_cli.geometry.distances import (
    Floats,
    Indices,
    distances_to,
    mean_row,
    product_error,
    squared_distances,
)
from initpools_cli.geometry.matmul import product
from initpools_cli.geometry.rows import Rows, map_rows

ROWS = 1024
COLUMNS = 2048
FIRST_COLUMNS = 128
# With more hits than this per neighbor, filtering them around a nearby origin is cheaper than exact distances.
MANY_HITS = 4


def nearest(queries: Floats | Rows, points: Floats, threads: int | None = None) -> tuple[Indices, NDArray[np.float64]]:
    """Find the nearest of `points` for each query; ties go to the lower index.

    Parameters
    ----------
    queries : (m, d) float32, or Rows
    points : (n, d) float32, n ≥ 1
    threads : int, optional

    Returns
    -------
    index : (m,) int64
    distance : (m,) float64
        Euclidean, exactly 0 for equal rows.
    """
    index, sq_distances = nearest_squared(queries, points, None, threads)
    return index, np.sqrt(sq_distances)


def nearest_squared(
    queries: Floats | Rows, points: Floats | Rows, bound: NDArray[np.float64] | None = None, threads: int | None = None
) -> tuple[Indices, NDArray[np.float64]]:
    """Like `nearest`, with squared distances; points not nearer than `bound` (m,) are ignored.

    Returns
    -------
    index : (m,) int64
        -1 where no point is nearer than the bound.
    squared : (m,) float64
        The bound where `index` is -1.
    """
    shift = mean_row(points, threads).astype(np.float32)
    limits = np.full(len(queries), np.inf) if bound is None else bound

    def search_block(block: Floats, limit: NDArray[np.float64]) -> tuple[Indices, NDArray[np.float64]]:
        index, sq_distances = search(block, points, 1, shift, limit)
        return index[:, 0], sq_distances[:, 0]

    parts = map_rows(search_block, queries, limits, block=ROWS, threads=threads)
    if not parts:
        return np.empty(0, np.int64), np.empty(0)
    return np.concatenate([index for index, _ in parts]), np.concatenate([sq_distances for _, sq_distances in parts])


def nearest_k(
    queries: Floats, points: Floats, k: int, threads: int | None = None
) -> tuple[Indices, NDArray[np.float64]]:
    """Find the k nearest of `points` for each query, nearest first; ties by ascending index.

    Parameters
    ----------
    queries : (m, d) float32
    points : (n, d) float32
    k : int
        1 ≤ k ≤ n.
    threads : int, optional

    Returns
    -------
    index : (m, k) int64
    distance : (m, k) float64
        Euclidean, exactly 0 for equal rows.
    """
    if not 1 <= k <= len(points):
        raise ValueError(f"k={k} must be ≥ 1 and ≤ n={len(points)}")
    shift = mean_row(points, threads).astype(np.float32)

    def search_block(span: slice) -> tuple[Indices, NDArray[np.float64]]:
        return search(queries[span], points, k, shift, np.full(span.stop - span.start, np.inf))

    parts = map_blocks(search_block, len(queries), ROWS, threads)
    index = np.concatenate([np.empty((0, k), np.int64), *(part[0] for part in parts)])
    return index, np.sqrt(np.concatenate([np.empty((0, k)), *(part[1] for part in parts)]))


def search(
    queries: Floats,
    points: Floats | Rows,
    k: int,
    shift: NDArray[np.float32],
    limit: NDArray[np.float64],
    own_indices: Indices | None = None,
) -> tuple[Indices, NDArray[np.float64]]:
    """Find the k nearest points of a block of queries.

    `own_indices` holds the indices of the queries among the points, ascending; a query is not its own neighbor.
    Products in float32 err by less than `slack`, so every possible neighbor lies within it of the k-th best; those few
    are recomputed by differences. Columns come in ascending order, and a later one that only equals the k-th best has
    the higher index: hence strictly nearer from the second chunk on.
    """
    m, dimensions = queries.shape
    centered = np.subtract(queries, shift, dtype=np.float32)
    own = np.einsum("ij,ij->i", centered, centered)
    index = np.full((m, k), -1, np.int64)
    sq_distances = np.repeat(limit[:, None], k, axis=1)
    # The first chunk is small: with many duplicates it decides everything, without exact distances to other chunks.
    for start, stop in pairwise([0, *range(max(FIRST_COLUMNS, 2 * k), len(points), COLUMNS), len(points)]):
        chunk = np.subtract(points[start:stop], shift, dtype=np.float32)
        norms = np.einsum("ij,ij->i", chunk, chunk)
        reach = np.sqrt(own) + np.sqrt(norms.max())
        slack = product_error(dimensions, reach)
        products = product(centered, -2 * chunk.T)
        products += norms
        if own_indices is not None:
            inside = np.flatnonzero((own_indices >= start) & (own_indices < stop))
            products[inside, own_indices[inside] - start] = np.inf
        kth = sq_distances[:, -1]
        if len(chunk) > k:
            # At least k points of this chunk have a smaller squared distance, so none above it is among the best.
            best = products.min(axis=1) if k == 1 else np.partition(products, k - 1, axis=1)[:, k - 1]
            kth = np.minimum(kth, best.astype(np.float64) + own + slack)
        ceiling = np.nextafter((kth - own + slack).astype(np.float32), np.float32(np.inf))
        open_rows = np.flatnonzero((sq_distances[:, -1] > 0) & (products.min(axis=1) <= ceiling))
        hits = products[open_rows] <= ceiling[open_rows, None]
        if own_indices is not None:
            inside = np.flatnonzero((own_indices[open_rows] >= start) & (own_indices[open_rows] < stop))
            hits[inside, own_indices[open_rows[inside]] - start] = False
        if np.count_nonzero(hits) > MANY_HITS * k * len(open_rows):
            hits = _filter_hits(queries[open_rows], points[start:stop], hits, k, sq_distances[open_rows, -1])
        row, column = np.nonzero(hits)
        if len(row):
            _merge(queries, points, index, sq_distances, open_rows[row], column + start)
    return index, sq_distances


def _filter_hits(
    queries: Floats, points: Floats, hits: NDArray[np.bool_], k: int, kth: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Keep those of the `hits` (m, c) that can be among the k nearest, by products around a nearby origin.

    In a tight cluster far from the mean, the rounding of products exceeds the distances; with one of its own points as
    the origin it does not. Rows of such a cluster have the same hits, and so the same first hit.
    """
    near_hits = np.zeros_like(hits)
    rows_with_hits = np.flatnonzero(hits.any(axis=1))
    firsts = hits[rows_with_hits].argmax(axis=1)
    for first in np.unique(firsts):
        rows = rows_with_hits[firsts == first]
        columns = np.flatnonzero(hits[rows].any(axis=0))
        a = np.subtract(queries[rows], points[first], dtype=np.float32)
        b = np.subtract(points[columns], points[first], dtype=np.float32)
        a_norms, b_norms = np.einsum("ij,ij->i", a, a)[:, None], np.einsum("ij,ij->i", b, b)
        slack = product_error(queries.shape[1], np.sqrt(a_norms) + np.sqrt(b_norms))
        rough = np.where(hits[np.ix_(rows, columns)], a @ (-2 * b.T) + a_norms + b_norms, np.float32(np.inf))
        ceiling = kth[rows]
        if len(columns) >= k:
            ceiling = np.minimum(ceiling, np.partition(rough + slack, k - 1, axis=1)[:, k - 1])
        near_hits[np.ix_(rows, columns)] = np.isfinite(rough) & (rough - slack <= ceiling[:, None])
    return near_hits


def pair_distances(queries: Floats, points: Floats | Rows, row: Indices, column: Indices) -> NDArray[np.float64]:
    """Compute squared distances of the pairs (row of `queries`, row of `points`)."""
    gaps = np.empty(len(row))
    # The rows gathered for one step fit the cache.
    step = max(1, 2**18 // queries.shape[1])
    for start in range(0, len(row), step):
        pairs = slice(start, start + step)
        gaps[pairs] = squared_distances(queries[row[pairs]], points[column[pairs]])
    return gaps


def _merge(
    queries: Floats,
    points: Floats | Rows,
    index: Indices,
    sq_distances: NDArray[np.float64],
    row: Indices,
    column: Indices,
) -> None:
    """Compute the distances of the pairs (row, column) and merge nearer ones into the sorted lists, in place."""
    k = index.shape[1]
    gaps = pair_distances(queries, points, row, column)
    nearer = gaps < sq_distances[row, -1]
    row, column, gaps = row[nearer], column[nearer], gaps[nearer]
    changed_rows = np.unique(row)
    rows = np.concatenate([np.repeat(changed_rows, k), row])
    columns = np.concatenate([index[changed_rows].ravel(), column])
    values = np.concatenate([sq_distances[changed_rows].ravel(), gaps])
    # An empty entry (-1) has its row's limit as distance and must sort after a point at that distance.
    order = np.lexsort((np.where(columns < 0, np.iinfo(np.int64).max, columns), values, rows))
    rows = rows[order]
    rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
    best = order[rank < k]
    index[changed_rows] = columns[best].reshape(-1, k)
    sq_distances[changed_rows] = values[best].reshape(-1, k)


def nearest_free(
    queries: Floats, points: Floats | Rows, unavailable: Indices, threads: int | None = None
) -> tuple[Indices, NDArray[np.float64]]:
    """Assign to each query in turn the nearest point that is still available; ties go to the lower index.

    Parameters
    ----------
    queries : (m, d) float32
    points : (n, d) float32, or Rows
    unavailable : (t,) int64
        Points that are never assigned; m ≤ n − t.
    threads : int, optional

    Returns
    -------
    index : (m,) int64
        Distinct.
    distance : (m,) float64
        Euclidean.
    """
    free = np.ones(len(points), bool)
    free[unavailable] = False
    index = np.empty(len(queries), np.int64)
    distance = np.empty(len(queries))
    nearest_row, sq_distances = nearest_squared(queries, points, None, threads)
    for place, query in enumerate(queries):
        if not free[nearest_row[place]]:
            gaps = np.where(free, distances_to(points, query, threads), np.inf)
            nearest_row[place], sq_distances[place] = gaps.argmin(), gaps.min()
        index[place], distance[place] = nearest_row[place], np.sqrt(sq_distances[place])
        free[nearest_row[place]] = False
    return index, distance
