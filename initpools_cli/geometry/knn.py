"""k nearest neighbors within one array: candidates by float32 products, exact distances in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.capacity import FEWER, require_memory
from initpools_cli.geometry.chunked import map_blocks
from initpools_cli.geometry.distances import Floats, Indices, center_if_distant, mean_row, product_error
from initpools_cli.geometry.ivf import count_lists, each_in_ivf, index_name
from initpools_cli.geometry.matmul import product
from initpools_cli.geometry.neighbors import pair_distances, search
from initpools_cli.geometry.recall import recall_sample

# Block sizes: a block of products fits the cache.
ROWS, COLUMNS = 512, 1024
# Candidates beyond k, so that the rounding of float32 products seldom leaves a row uncertain.
MARGIN = 16


#: Receives rows, their (m, k) nearest rows and the squared distances; a later call for a row replaces an earlier one.
Take = Callable[[Indices | slice, Indices, NDArray[np.float64]], None]


def approximate_revision(knobs: Mapping[str, Any]) -> int:
    """Return the revision of methods with the knob `probes`: the lists that it searches were others at first."""
    return 2 if knobs.get("probes") else 1


def knn(points: Floats, k: int, threads: int | None = None, *, probes: int = 0) -> tuple[Indices, NDArray[np.float64]]:
    """Find the k nearest other rows of every row, nearest first; ties by ascending index.

    Parameters
    ----------
    points : (n, d) float32
    k : int
        1 ≤ k < n.
    threads : int, optional
    probes : int
        0: exact. Else approximate: only this many of about 2 √n lists of near rows are searched for each row; exact
        from as many probes as lists.

    Returns
    -------
    indices : (n, k) int64
        Never the row itself, but possibly its duplicates.
    distances : (n, k) float64
        Euclidean.
    """
    require_memory(len(points) * k * 16, f"The {k:,} nearest of each of {len(points):,} images take", FEWER)
    index, sq_distances = np.empty((len(points), k), np.int64), np.empty((len(points), k))

    def take(rows: Indices | slice, near: Indices, gaps: NDArray[np.float64]) -> None:
        index[rows], sq_distances[rows] = near, gaps

    each_neighborhood(points, k, take, threads, probes=probes)
    return index, np.sqrt(sq_distances, out=sq_distances)


def each_neighborhood(
    points: Floats,
    k: int,
    take: Take,
    threads: int | None = None,
    *,
    probes: int = 0,
) -> None:
    """Like `knn`, but pass the neighbors to `take` block by block instead of storing them all.

    Parameters
    ----------
    points : (n, d) float32
    k : int
        1 ≤ k < n.
    take : callable
        See `Take`.
    threads : int, optional
    probes : int
        As for `knn`.
    """
    n = len(points)
    if not 1 <= k < n:
        raise ValueError(f"k={k} must be ≥ 1 and < n={n}")
    if 0 < probes < count_lists(n):
        sample = recall_sample(points, k)
        each_in_ivf(points, k, take if sample is None else sample.watch(take), probes, threads)
        if sample is not None:
            sample.report(index_name(points), threads)
        return
    close, squares, _ = center_if_distant(points, threads)
    certain = np.empty(n, bool)

    def propose(span: slice) -> None:
        index, sq_distances, certain[span] = candidate_neighbors(points, close, squares, span, k)
        take(span, index, sq_distances)

    map_blocks(propose, n, ROWS, threads)
    uncertain = np.flatnonzero(~certain)
    shift = mean_row(points, threads).astype(np.float32)

    def search_uncertain(span: slice) -> None:
        rows = uncertain[span]
        take(rows, *search(points[rows], points, k, shift, np.full(len(rows), np.inf), rows))

    map_blocks(search_uncertain, len(uncertain), min(ROWS, 256), threads)


def candidate_neighbors(
    points: Floats, close: NDArray[np.float32], squares: NDArray[np.float64], span: Indices | slice, k: int
) -> tuple[Indices, NDArray[np.float64], NDArray[np.bool_]]:
    """Find the k nearest other rows among float32 candidates, and whether the result is certain.

    A row within √r of the query is at most √r longer than it, so `product_error` of twice the query's length plus √r
    bounds the float32 error for every row within √r, wherever the other rows lie.

    Parameters
    ----------
    points : (n, d) float32
    close, squares
        As from `center_if_distant`.
    span : slice or (m,) int64
        The m query rows, ascending.
    k : int

    Returns
    -------
    index : (m, k) int64
    squared : (m, k) float64
    certain : (m,) bool
        If False, `index` and `squared` may be wrong.
    """
    queries, n_candidates = points[span], min(len(points) - 1, k + MARGIN)
    index, rough = _candidates(close, squares.astype(np.float32), span, n_candidates)
    order = np.argsort(rough, axis=1)
    index, rough = np.take_along_axis(index, order, axis=1), np.take_along_axis(rough, order, axis=1)
    rough += squares[span].astype(np.float32)[:, None]
    sq_distances = np.full(index.shape, np.inf)

    def measure(pairs: NDArray[np.bool_]) -> NDArray[np.float64]:
        row, place = np.nonzero(pairs)
        sq_distances[row, place] = pair_distances(queries, points, row, index[row, place])
        kth: NDArray[np.float64] = np.partition(sq_distances, k - 1, axis=1)[:, k - 1]
        return kth

    # Candidates certainly farther than the first k need no exact distance.
    first = np.zeros(index.shape, bool)
    first[:, :k] = True
    kth = measure(first)
    slack = product_error(points.shape[1], 2 * np.sqrt(squares[span]).astype(np.float32) + np.sqrt(kth))
    kth = measure(~first & (rough <= (kth + slack)[:, None]))
    best = np.lexsort((index, sq_distances), axis=1)[:, :k]
    # Written so that NaN counts as uncertain.
    certain = (kth + slack < rough[:, -1]) | (n_candidates == len(points) - 1)
    return np.take_along_axis(index, best, axis=1), np.take_along_axis(sq_distances, best, axis=1), certain


def _candidates(
    close: NDArray[np.float32], squares: NDArray[np.float32], span: Indices | slice, n_candidates: int
) -> tuple[Indices, NDArray[np.float32]]:
    """Return the `n_candidates` other rows with the least |y|² − 2 x·y for each x of the span, and these values."""
    queries = close[span]
    rows = np.arange(span.start, span.stop) if isinstance(span, slice) else span
    index = np.full((len(queries), n_candidates), -1, np.int64)
    values = np.full((len(queries), n_candidates), np.inf, np.float32)
    for start in range(0, len(close), COLUMNS):
        products = product(queries, -2 * close[start : start + COLUMNS].T)
        products += squares[start : start + COLUMNS]
        own = np.flatnonzero((rows >= start) & (rows < start + COLUMNS))
        products[own, rows[own] - start] = np.inf
        ceiling = values.max(axis=1)
        if products.shape[1] > n_candidates:
            # No more than `n_candidates` rows of a block can be candidates.
            not_full = np.isinf(ceiling)
            ceiling[not_full] = np.nextafter(
                np.partition(products[not_full], n_candidates - 1, axis=1)[:, n_candidates - 1], np.float32(np.inf)
            )
        row, column = np.divmod(np.flatnonzero(products < ceiling[:, None]), products.shape[1])
        _keep(index, values, row, column + start, products[row, column])
    return index, values


def _keep(index: Indices, values: NDArray[np.float32], row: Indices, new: Indices, gaps: NDArray[np.float32]) -> None:
    """Insert smaller values into the candidate lists of their rows, in place; `row` ascends."""
    count = np.bincount(row, minlength=len(values))
    width = int(count.max(initial=0))
    if not width:
        return
    n_candidates = values.shape[1]
    place = n_candidates + np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    all_values = np.full((len(values), n_candidates + width), np.inf, np.float32)
    all_index = np.full(all_values.shape, -1, np.int64)
    all_values[:, :n_candidates], all_index[:, :n_candidates] = values, index
    all_values[row, place], all_index[row, place] = gaps, new
    best = np.argpartition(all_values, n_candidates - 1, axis=1)[:, :n_candidates]
    index[:], values[:] = np.take_along_axis(all_index, best, axis=1), np.take_along_axis(all_values, best, axis=1)
