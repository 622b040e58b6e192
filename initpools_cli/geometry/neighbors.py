"""Exact nearest neighbours: float32 products find who may be near, float64 differences decide."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.blocks import map_blocks

Floats = NDArray[np.floating]
Indices = NDArray[np.int64]

ROWS = 1024
COLUMNS = 2048
FIRST_COLUMNS = 128


def squared_distances(a: Floats, b: Floats) -> NDArray[np.float64]:
    """Squared Euclidean distances row by row, from differences in float64: 0 for equal rows, and only for them.

    Parameters
    ----------
    a, b : (m, d) arrays, or one of them (d,)

    Returns
    -------
    (m,) float64
    """
    difference = np.subtract(a, b, dtype=np.float64)
    squared: NDArray[np.float64] = np.einsum("ij,ij->i", difference, difference)
    return squared


def product_error(dimensions: int, reach: NDArray[np.float32]) -> NDArray[np.float32]:
    """How far a squared distance from float32 products can be off, for vectors whose lengths add up to `reach`."""
    bound: NDArray[np.float32] = (dimensions + 8) * np.float32(2.0**-23) * reach**2 + np.float32(1e-30)
    return bound


def mean_row(points: Floats, threads: int | None = None) -> NDArray[np.float64]:
    """The mean of the rows, (d,), summed in float64."""
    sums = map_blocks(lambda span: points[span].sum(axis=0, dtype=np.float64), len(points), ROWS, threads)
    mean: NDArray[np.float64] = np.sum(sums, axis=0) / len(points)
    return mean


def distances_to(points: Floats, centre: Floats, threads: int | None = None) -> NDArray[np.float64]:
    """Squared Euclidean distances (n,) of the rows of `points` (n, d) from `centre` (d,)."""
    return np.concatenate(map_blocks(lambda span: squared_distances(points[span], centre), len(points), ROWS, threads))


def nearest(queries: Floats, points: Floats, threads: int | None = None) -> tuple[Indices, NDArray[np.float64]]:
    """The nearest of `points` for each query; of equally near ones the one with the lower index.

    Parameters
    ----------
    queries : (m, d) float32
    points : (n, d) float32, n ≥ 1
    threads : int, optional

    Returns
    -------
    index : (m,) int64
    distance : (m,) float64
        Euclidean, exactly 0 for equal rows.
    """
    index, squared = nearest_squared(queries, points, None, threads)
    return index, np.sqrt(squared)


def nearest_squared(
    queries: Floats, points: Floats, bound: NDArray[np.float64] | None = None, threads: int | None = None
) -> tuple[Indices, NDArray[np.float64]]:
    """As `nearest`, with squared distances; points not nearer than `bound` (m,) are passed over.

    Returns
    -------
    index : (m,) int64
        -1 where no point is nearer than the bound.
    squared : (m,) float64
        The bound there.
    """
    shift = mean_row(points, threads).astype(np.float32)

    def search(span: slice) -> tuple[Indices, NDArray[np.float64]]:
        limit = np.full(span.stop - span.start, np.inf) if bound is None else bound[span]
        index, squared = _search(queries[span], points, 1, shift, limit)
        return index[:, 0], squared[:, 0]

    found = map_blocks(search, len(queries), ROWS, threads)
    if not found:
        return np.empty(0, np.int64), np.empty(0)
    return np.concatenate([index for index, _ in found]), np.concatenate([squared for _, squared in found])


def knn(points: Floats, k: int, threads: int | None = None) -> tuple[Indices, NDArray[np.float64]]:
    """The k nearest other rows of every row, nearest first; equally near ones by ascending index.

    Parameters
    ----------
    points : (n, d) float32
    k : int
        1 ≤ k < n.
    threads : int, optional

    Returns
    -------
    indices : (n, k) int64
        Never the row itself, though its duplicates.
    distances : (n, k) float64
        Euclidean.
    """
    n = len(points)
    if not 1 <= k < n:
        raise ValueError(f"k={k} must be ≥ 1 and < n={n}")
    shift = mean_row(points, threads).astype(np.float32)

    def search(span: slice) -> tuple[Indices, NDArray[np.float64]]:
        limit = np.full(span.stop - span.start, np.inf)
        return _search(points[span], points, k, shift, limit, first_row=span.start)

    found = map_blocks(search, n, min(ROWS, 256), threads)
    return np.concatenate([index for index, _ in found]), np.sqrt(np.concatenate([squared for _, squared in found]))


def _search(
    queries: Floats,
    points: Floats,
    k: int,
    shift: NDArray[np.float32],
    limit: NDArray[np.float64],
    first_row: int | None = None,
) -> tuple[Indices, NDArray[np.float64]]:
    """The k nearest points of a block of queries; `first_row` says which points the queries themselves are.

    Products in float32 err by less than `slack`, so whatever could be among the k nearest lies within it of the k-th
    best; those few are measured again by differences. Columns come in ascending order, and a later one that only
    equals the k-th best has the higher index: hence strictly nearer from the second chunk on.
    """
    m, dimensions = queries.shape
    centred = np.subtract(queries, shift, dtype=np.float32)
    own = np.einsum("ij,ij->i", centred, centred)
    rows_at = np.arange(m)
    index = np.full((m, k), -1, np.int64)
    squared = np.repeat(limit[:, None], k, axis=1)
    # The first chunk is small: among duplicates it settles everything, and no pair of the others has to be measured.
    for start, stop in pairwise([0, *range(max(FIRST_COLUMNS, 2 * k), len(points), COLUMNS), len(points)]):
        chunk = np.subtract(points[start:stop], shift, dtype=np.float32)
        norms = np.einsum("ij,ij->i", chunk, chunk)
        reach = np.sqrt(own) + np.sqrt(norms.max())
        slack = product_error(dimensions, reach)
        products = centred @ (-2 * chunk.T)
        products += norms
        if first_row is not None:
            at = first_row + rows_at - start
            inside = (at >= 0) & (at < len(chunk))
            products[rows_at[inside], at[inside]] = np.inf
        kth = squared[:, -1]
        if len(chunk) > k:
            # As a squared distance at least k of this chunk lie below this, so nothing beyond it can be among the best.
            best = products.min(axis=1) if k == 1 else np.partition(products, k - 1, axis=1)[:, k - 1]
            kth = np.minimum(kth, best.astype(np.float64) + own + slack)
        ceiling = np.nextafter((kth - own + slack).astype(np.float32), np.float32(np.inf))
        open_rows = np.flatnonzero((squared[:, -1] > 0) & (products.min(axis=1) <= ceiling))
        hit, column = np.nonzero(products[open_rows] <= ceiling[open_rows, None])
        row = open_rows[hit]
        if first_row is not None:
            other = row + first_row != column + start
            row, column = row[other], column[other]
        if len(row):
            _merge(queries, points, index, squared, row, column + start)
    return index, squared


def _merge(
    queries: Floats, points: Floats, index: Indices, squared: NDArray[np.float64], row: Indices, column: Indices
) -> None:
    """Measure the pairs (row, column) and put those that are nearer into the sorted lists of their rows, in place."""
    k = index.shape[1]
    measured = np.empty(len(row))
    step = max(1, 2**18 // queries.shape[1])
    for start in range(0, len(row), step):
        pairs = slice(start, start + step)
        measured[pairs] = squared_distances(queries[row[pairs]], points[column[pairs]])
    nearer = measured < squared[row, -1]
    row, column, measured = row[nearer], column[nearer], measured[nearer]
    touched = np.unique(row)
    rows = np.concatenate([np.repeat(touched, k), row])
    columns = np.concatenate([index[touched].ravel(), column])
    values = np.concatenate([squared[touched].ravel(), measured])
    # An empty place (-1) is worth its row's limit and must stay behind a point that is as near.
    order = np.lexsort((np.where(columns < 0, np.iinfo(np.int64).max, columns), values, rows))
    rows = rows[order]
    rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
    kept = order[rank < k]
    index[touched] = columns[kept].reshape(-1, k)
    squared[touched] = values[kept].reshape(-1, k)


def nearest_free(
    queries: Floats, points: Floats, taken: Indices, threads: int | None = None
) -> tuple[Indices, NDArray[np.float64]]:
    """For each query in turn the nearest point that is not taken, which then is; ties go to the lower index.

    Parameters
    ----------
    queries : (m, d) float32
    points : (n, d) float32
    taken : (t,) int64
        Points that are taken from the start; m ≤ n − t.
    threads : int, optional

    Returns
    -------
    index : (m,) int64
        Distinct.
    distance : (m,) float64
        Euclidean.
    """
    free = np.ones(len(points), bool)
    free[taken] = False
    index = np.empty(len(queries), np.int64)
    distance = np.empty(len(queries))
    wanted, squared = nearest_squared(queries, points, None, threads)
    for place, query in enumerate(queries):
        if not free[wanted[place]]:
            gaps = np.where(free, distances_to(points, query, threads), np.inf)
            wanted[place], squared[place] = gaps.argmin(), gaps.min()
        index[place], distance[place] = wanted[place], np.sqrt(squared[place])
        free[wanted[place]] = False
    return index, distance
