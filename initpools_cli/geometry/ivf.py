"""Approximate nearest neighbors by an inverted file of faiss, measured exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.seeds import generator
from initpools_cli.geometry.chunked import map_blocks
from initpools_cli.geometry.distances import Floats, Indices, center_if_distant, mean_row
from initpools_cli.geometry.neighbors import pair_distances, search

# Lists per √n rows, and the least mean number of rows in a list.
LISTS, ROWS = 2, 8
# Training rows per list, and the iterations of k-means.
SAMPLE, ITERATIONS = 32, 5
SEED = 1234
# Lists longer than this many times the mean are split: with many duplicates, one list would have most of the rows.
LONGEST = 8
# Queries of a block.
QUERIES = 1024
# Candidates beyond the row itself and its k neighbors; compressed distances order them less well.
MARGIN, COMPRESSED_MARGIN = 4, 4
# Rows of more bytes than this are stored by product quantization, one byte for each `DIMENSIONS` numbers.
MOST_BYTES, DIMENSIONS = 2**32, 4


def count_lists(n: int) -> int:
    """Return the number of lists for n rows."""
    return int(np.clip(LISTS * n**0.5, 1, max(1, n // ROWS)))


def index_name(points: Floats) -> str:
    """Return the name of the index that rows are stored in: ivf, or ivf-pq with product quantization."""
    return "ivf-pq" if points.size * 4 > MOST_BYTES else "ivf"


def each_in_ivf(
    points: NDArray[np.float32],
    k: int,
    take: Callable[[Indices | slice, Indices, NDArray[np.float64]], None],
    probes: int,
    threads: int | None = None,
) -> None:
    """Search neighbors in the `probes` lists nearest to each row; as `knn.each_neighborhood`.

    faiss proposes neighbors, which are ordered by distances computed in float64. Rows whose lists hold fewer than k
    others are searched exactly. Deterministic: one thread trains and adds, and blocks of queries do not depend on the
    number of threads.

    Parameters
    ----------
    points : (n, d) float32
    k : int
        1 ≤ k < n.
    take : callable
    probes : int
        ≥ 1. More lists are searched if these hold fewer than twice k rows on average.
    threads : int, optional
    """
    n = len(points)
    rows = _Rows(center_if_distant(points, threads)[0], index_name(points) == "ivf-pq")
    least = -(-2 * (k + 1) * count_lists(n) // n)
    lists = _make_lists(rows, min(max(probes, least), count_lists(n)), threads)
    index = _fill(rows, lists)
    n_candidates = min(n, (k + 1) * (COMPRESSED_MARGIN if rows.compressed else 1) + MARGIN)
    # Queries of a list are searched one after another, while the rows of their lists are in the cache.
    order, shift = np.argsort(lists.own, kind="stable"), mean_row(points, threads).astype(np.float32)

    def search_block(span: slice) -> None:
        own = order[span]
        near = lists.near[own].astype(np.int64)
        with _one_thread():
            candidates = index.search_preassigned(
                rows.block(own), n_candidates, near, np.zeros(near.shape, np.float32)
            )[1]
        neighbors, sq_distances = _measure(points, own, candidates, k)
        take(own, neighbors, sq_distances)
        few = np.sort(own[np.isinf(sq_distances[:, -1])])
        if len(few):
            take(few, *search(points[few], points, k, shift, np.full(len(few), np.inf), few))

    map_blocks(search_block, n, QUERIES, threads)


@dataclass(frozen=True)
class _Rows:
    """Rows in the form that faiss reads, in blocks.

    Attributes
    ----------
    array : (n, d) array
    compressed : bool
        Whether the index stores them by product quantization, which pads them with zeros to a multiple of `DIMENSIONS`.
    """

    array: Floats
    compressed: bool

    @property
    def width(self) -> int:
        d = self.array.shape[1]
        return -(-d // DIMENSIONS) * DIMENSIONS if self.compressed else d

    def block(self, rows: Indices | slice) -> NDArray[np.float32]:
        part = np.ascontiguousarray(self.array[rows], np.float32)
        missing = self.width - part.shape[1]
        return np.pad(part, ((0, 0), (0, missing))) if missing else part


@dataclass(frozen=True)
class _Lists:
    """Lists of rows.

    Attributes
    ----------
    quantizer : faiss.IndexFlatL2
        The centroids.
    own : (n,) int64
        The list that holds each row.
    near : (n, p) int32
        The lists that are searched for each row.
    sample : (s, width) float32
        The training rows.
    """

    quantizer: Any
    own: Indices
    near: NDArray[np.int32]
    sample: NDArray[np.float32]


def _make_lists(rows: _Rows, probes: int, threads: int | None) -> _Lists:
    """Partition the rows by the nearest centroid of k-means on a sample, and split long lists."""
    import faiss

    n = len(rows.array)
    count = count_lists(n)
    sample = rows.block(np.sort(generator(0, "ivf", n).choice(n, min(n, SAMPLE * count), replace=False)))
    clustering = faiss.Clustering(rows.width, count)
    _fix(clustering)
    quantizer = faiss.IndexFlatL2(rows.width)
    with _one_thread():
        clustering.train(sample, quantizer)
    near = _nearest_lists(rows, quantizer, probes, threads)
    own = near[:, 0].astype(np.int64)
    sizes = np.bincount(own, minlength=count)
    pieces = -(-sizes // (LONGEST * -(-n // count)))
    if (pieces > 1).any():
        centroids = quantizer.reconstruct_n(0, count)
        owners = np.repeat(np.arange(count), pieces)
        quantizer = faiss.IndexFlatL2(rows.width)
        quantizer.add(centroids[owners])
        own = _split(own, sizes, pieces)
        near = _nearest_lists(rows, quantizer, min(probes, len(owners)), threads)
    return _Lists(quantizer, own, near, sample)


def _split(own: Indices, sizes: Indices, pieces: Indices) -> Indices:
    """Number the pieces of lists; the rows of a list are divided over its pieces in ascending order."""
    order = np.argsort(own, kind="stable")
    sorted_own = own[order]
    place = np.arange(len(own)) - (np.cumsum(sizes) - sizes)[sorted_own]
    split = np.empty_like(own)
    split[order] = (np.cumsum(pieces) - pieces)[sorted_own] + place * pieces[sorted_own] // sizes[sorted_own]
    return split


def _nearest_lists(rows: _Rows, quantizer: Any, probes: int, threads: int | None) -> NDArray[np.int32]:
    """Find the lists with the nearest centroids, (n, probes)."""

    def assign_block(span: slice) -> NDArray[np.int32]:
        with _one_thread():
            return np.asarray(quantizer.search(rows.block(span), probes)[1], np.int32)

    return np.concatenate(map_blocks(assign_block, len(rows.array), QUERIES, threads))


def _fill(rows: _Rows, lists: _Lists) -> Any:
    """Build the index of all rows."""
    import faiss

    index: Any
    count = lists.quantizer.ntotal
    if rows.compressed:
        index = faiss.IndexIVFPQ(lists.quantizer, rows.width, count, rows.width // DIMENSIONS, 8)
        # Distances to compressed rows, not residuals, need one table a query instead of one a list.
        index.by_residual = False
        _fix(index.pq.cp)
        with _one_thread():
            index.train(lists.sample)
    else:
        index = faiss.IndexIVFFlat(lists.quantizer, rows.width, count)
        index.is_trained = True
    index.nprobe = lists.near.shape[1]
    with _one_thread():
        for start in range(0, len(lists.own), QUERIES):
            span = slice(start, start + QUERIES)
            part, own = rows.block(span), np.ascontiguousarray(lists.own[span])
            ids = np.arange(start, start + len(part))
            index.add_core(len(part), faiss.swig_ptr(part), faiss.swig_ptr(ids), faiss.swig_ptr(own))
    return index


def _measure(points: Floats, own: Indices, candidates: Indices, k: int) -> tuple[Indices, NDArray[np.float64]]:
    """Return the k nearest of the candidates of each row of `own`, by exact distances; inf where there are fewer."""
    valid = (candidates >= 0) & (candidates != own[:, None])
    sq_distances = np.full(candidates.shape, np.inf)
    row, place = np.nonzero(valid)
    sq_distances[row, place] = pair_distances(points[own], points, row, candidates[row, place])
    best = np.lexsort((candidates, sq_distances), axis=1)[:, :k]
    return np.take_along_axis(candidates, best, axis=1), np.take_along_axis(sq_distances, best, axis=1)


def _fix(clustering: Any) -> None:
    """Make a k-means of faiss repeatable, with few iterations and without warnings about few rows."""
    clustering.seed, clustering.niter = SEED, ITERATIONS
    clustering.min_points_per_centroid, clustering.max_points_per_centroid = 1, SAMPLE


@contextmanager
def _one_thread() -> Iterator[None]:
    """Limit faiss to one thread in the calling thread."""
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
