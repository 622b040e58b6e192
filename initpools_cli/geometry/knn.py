"""The nearest other rows of every row: float32 products propose them, float64 differences decide."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.capacity import FEWER, require_memory
from initpools_cli.geometry.chunked import map_blocks
from initpools_cli.geometry.distances import Floats, Indices, close_up, mean_row, product_error
from initpools_cli.geometry.inverted_file import make_lists, nearest_lists
from initpools_cli.geometry.matmul import product
from initpools_cli.geometry.neighbors import measured, search

# A block of products fits the cache.
ROWS, COLUMNS = 512, 1024
# Candidates beyond k, so that the rounding of float32 products seldom leaves a row unsure.
MARGIN = 16


def knn(points: Floats, k: int, threads: int | None = None, *, probes: int = 0) -> tuple[Indices, NDArray[np.float64]]:
    """The k nearest other rows of every row, nearest first; equally near ones by ascending index.

    Parameters
    ----------
    points : (n, d) float32
    k : int
        1 ≤ k < n.
    threads : int, optional
    probes : int
        0: exact. Else only so many lists of rows that lie together are looked through for each row (`make_lists`), its
        own and the nearest ones, or more where these hold too few rows; some neighbors are then missed.

    Returns
    -------
    indices : (n, k) int64
        Never the row itself, though its duplicates.
    distances : (n, k) float64
        Euclidean.
    """
    require_memory(len(points) * k * 16, f"The {k:,} nearest of each of {len(points):,} images take", FEWER)
    index, squared = np.empty((len(points), k), np.int64), np.empty((len(points), k))

    def take(rows: Indices | slice, near: Indices, gaps: NDArray[np.float64]) -> None:
        index[rows], squared[rows] = near, gaps

    each_neighborhood(points, k, take, threads, probes=probes)
    return index, np.sqrt(squared, out=squared)


def each_neighborhood(
    points: Floats,
    k: int,
    take: Callable[[Indices | slice, Indices, NDArray[np.float64]], None],
    threads: int | None = None,
    *,
    probes: int = 0,
) -> None:
    """As `knn`, a block of rows at a time, for who needs little of what is found.

    Parameters
    ----------
    points : (n, d) float32
    k : int
        1 ≤ k < n.
    take : callable
        Is given rows, (m, k) indices and (m, k) squared distances; of a row that comes twice the later ones hold.
    threads : int, optional
    probes : int
        As for `knn`.
    """
    n = len(points)
    if not 1 <= k < n:
        raise ValueError(f"k={k} must be ≥ 1 and < n={n}")
    if probes:
        _each_by_lists(points, k, take, probes, threads)
        return
    close, squares, _ = close_up(points, threads)
    sure = np.empty(n, bool)

    def propose(span: slice) -> None:
        index, squared, sure[span] = proposed(points, close, squares, span, k)
        take(span, index, squared)

    map_blocks(propose, n, ROWS, threads)
    unsure = np.flatnonzero(~sure)
    shift = mean_row(points, threads).astype(np.float32)

    def look_again(span: slice) -> None:
        rows = unsure[span]
        take(rows, *search(points[rows], points, k, shift, np.full(len(rows), np.inf), rows))

    map_blocks(look_again, len(unsure), min(ROWS, 256), threads)


def _each_by_lists(
    points: Floats,
    k: int,
    take: Callable[[Indices | slice, Indices, NDArray[np.float64]], None],
    probes: int,
    threads: int | None,
) -> None:
    """The same from few lists: for the rows of a list all candidates are gathered, and moved to where they lie."""
    lists = make_lists(points, threads)
    near = nearest_lists(lists, probes, threads)

    def look(span: slice) -> None:
        at = span.start
        rows, among = lists.rows(at), lists.around(at, near[at], k + 1)
        # Once as they are and once from nearby; nothing else here is as large.
        there = points[among]
        close = there - lists.centroids[at]
        squares = np.einsum("ij,ij->i", close, close).astype(np.float64)
        places = np.searchsorted(among, rows)
        for start in range(0, len(rows), ROWS):
            part = places[start : start + ROWS]
            index, squared, sure = proposed(there, close, squares, part, k)
            take(among[part], among[index], squared)
            if not sure.all():
                unsure = part[~sure]
                shift, limit = lists.centroids[at], np.full(len(unsure), np.inf)
                index, squared = search(there[unsure], there, k, shift, limit, unsure)
                take(among[unsure], among[index], squared)

    map_blocks(look, len(lists), 1, threads)


def proposed(
    points: Floats, close: NDArray[np.float32], squares: NDArray[np.float64], span: Indices | slice, k: int
) -> tuple[Indices, NDArray[np.float64], NDArray[np.bool_]]:
    """The k nearest other rows among those that float32 finds near, and whether a row it left out could be one too.

    Of two rows at most √r apart the farther is at most √r longer: so `product_error` of twice the query's length plus
    √r bounds how far float32 can be off about any row within √r, wherever the rest lies.

    Parameters
    ----------
    points : (n, d) float32
    close, squares
        As from `close_up`.
    span : slice or (m,) int64
        The rows whose neighbors are wanted, m of them; ascending.
    k : int

    Returns
    -------
    index : (m, k) int64
    squared : (m, k) float64
    sure : (m,) bool
        Where False, `index` and `squared` may be wrong.
    """
    queries, asked = points[span], min(len(points) - 1, k + MARGIN)
    index, rough = _candidates(close, squares.astype(np.float32), span, asked)
    order = np.argsort(rough, axis=1)
    index, rough = np.take_along_axis(index, order, axis=1), np.take_along_axis(rough, order, axis=1)
    rough += squares[span].astype(np.float32)[:, None]
    squared = np.full(index.shape, np.inf)

    def measure(pairs: NDArray[np.bool_]) -> NDArray[np.float64]:
        row, place = np.nonzero(pairs)
        squared[row, place] = measured(queries, points, row, index[row, place])
        kth: NDArray[np.float64] = np.partition(squared, k - 1, axis=1)[:, k - 1]
        return kth

    # What is farther than the first k is not needed.
    first = np.zeros(index.shape, bool)
    first[:, :k] = True
    kth = measure(first)
    slack = product_error(points.shape[1], 2 * np.sqrt(squares[span]).astype(np.float32) + np.sqrt(kth))
    kth = measure(~first & (rough <= (kth + slack)[:, None]))
    best = np.lexsort((index, squared), axis=1)[:, :k]
    # The negated comparison would take what is not a number for sure.
    sure = (kth + slack < rough[:, -1]) | (asked == len(points) - 1)
    return np.take_along_axis(index, best, axis=1), np.take_along_axis(squared, best, axis=1), sure


def _candidates(
    close: NDArray[np.float32], squares: NDArray[np.float32], span: Indices | slice, asked: int
) -> tuple[Indices, NDArray[np.float32]]:
    """The `asked` other rows with the least |y|² − 2 x·y for each x of the span, in no order, and these numbers."""
    queries = close[span]
    rows = np.arange(span.start, span.stop) if isinstance(span, slice) else span
    index = np.full((len(queries), asked), -1, np.int64)
    values = np.full((len(queries), asked), np.inf, np.float32)
    for start in range(0, len(close), COLUMNS):
        products = product(queries, -2 * close[start : start + COLUMNS].T)
        products += squares[start : start + COLUMNS]
        own = np.flatnonzero((rows >= start) & (rows < start + COLUMNS))
        products[own, rows[own] - start] = np.inf
        ceiling = values.max(axis=1)
        if products.shape[1] > asked:
            # Of this block alone no more than so many can be wanted.
            crowded = np.isinf(ceiling)
            ceiling[crowded] = np.nextafter(
                np.partition(products[crowded], asked - 1, axis=1)[:, asked - 1], np.float32(np.inf)
            )
        row, column = np.divmod(np.flatnonzero(products < ceiling[:, None]), products.shape[1])
        _keep(index, values, row, column + start, products[row, column])
    return index, values


def _keep(index: Indices, values: NDArray[np.float32], row: Indices, new: Indices, gaps: NDArray[np.float32]) -> None:
    """Put what is smaller into the lists of its row, in place; `row` ascends."""
    count = np.bincount(row, minlength=len(values))
    width = int(count.max(initial=0))
    if not width:
        return
    asked = values.shape[1]
    place = asked + np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    all_values = np.full((len(values), asked + width), np.inf, np.float32)
    all_index = np.full(all_values.shape, -1, np.int64)
    all_values[:, :asked], all_index[:, :asked] = values, index
    all_values[row, place], all_index[row, place] = gaps, new
    best = np.argpartition(all_values, asked - 1, axis=1)[:, :asked]
    index[:], values[:] = np.take_along_axis(all_index, best, axis=1), np.take_along_axis(all_values, best, axis=1)
