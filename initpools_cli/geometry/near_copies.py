"""Similarity of rows to earlier rows of their clusters, for semantic deduplication."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.chunked import map_blocks
from initpools_cli.geometry.distances import Indices, squared_distances
from initpools_cli.geometry.duplicates import first_equal
from initpools_cli.geometry.kmeans import kmeans
from initpools_cli.geometry.normalize import unit_rows
from initpools_cli.geometry.rows import Points, Rows, map_rows, map_subsets, view

#: Which rows of a cluster are compared with no or few others: those far from its centroid (hard), near it, or any.
Keep = Literal["hard", "easy", "random"]
# Mean number of rows in a cluster by default.
CLUSTER = 5000
# Similarities to a centroid that are equal to so many decimals are ties: two rows are equally far from their mean.
DECIMALS = 6
# A block of products fits the cache.
ROWS, COLUMNS = 256, 2048


def similarity_to_earlier(
    points: NDArray[Any] | Rows,
    rng: np.random.Generator,
    *,
    clusters: int = 0,
    keep: Keep = "hard",
    first: NDArray[np.bool_] | None = None,
    threads: int | None = None,
) -> NDArray[np.float64]:
    """Compute the largest cosine similarity of each row to the rows before it in its k-means cluster.

    Parameters
    ----------
    points : (n, d) array or Rows
        Of any length.
    rng : numpy.random.Generator
        Initializes k-means, and orders rows with ``keep="random"``.
    clusters : int
        0: one for each 5,000 rows.
    keep : {"hard", "easy", "random"}
        The order of a cluster: the least similar to its centroid first, the most similar first, or random. Ties,
        within 1e-6, by ascending index.
    first : (n,) bool, optional
        Rows that come before all others.
    threads : int, optional

    Returns
    -------
    (n,) float64
        In [0, 1]; 0 for the first row of a cluster, and for zero rows, which are in no cluster. Exactly 1 for a row
        that equals an earlier one.
    """
    units: Points = replace(points, form="unit") if isinstance(points, Rows) else unit_rows(points)
    rows = np.flatnonzero(np.concatenate([np.empty(0, bool), *map_rows(_any, units, block=ROWS, threads=threads)]))
    similarities = np.zeros(len(units))
    if not len(rows):
        return similarities
    part = view(units, rows) if isinstance(units, Rows) or len(rows) == len(units) else units[rows]
    clustering = kmeans(part, min(clusters or -(-len(rows) // CLUSTER), len(rows)), rng, threads=threads)
    if keep == "random":
        place = rng.permutation(len(rows)).astype(np.float64)
    else:
        place = _to_centroids(part, clustering.centroids, clustering.labels, threads).round(DECIMALS)
        place *= 1 if keep == "hard" else -1
    late = np.zeros(len(rows), bool) if first is None else ~first[rows]
    order = np.lexsort((place, late, clustering.labels))
    # Compare only the first of equal rows, so that many copies do not take longer.
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    equal = first_equal(part)
    earliest = np.full(len(rows), len(rows))
    np.minimum.at(earliest, equal, rank)
    is_copy = rank != earliest[equal]
    similarities[rows[is_copy]] = 1.0
    distinct = order[~is_copy[order]]
    groups = np.split(distinct, np.flatnonzero(np.diff(clustering.labels[distinct])) + 1)
    for members, similar in zip(groups, map_subsets(_to_earlier, part, groups), strict=True):
        similarities[rows[members]] = similar
    return similarities


def _any(rows: NDArray[np.float32]) -> NDArray[np.bool_]:
    return np.asarray(rows.any(axis=1))


def _to_centroids(
    rows: Points, centroids: NDArray[np.float32], labels: Indices, threads: int | None
) -> NDArray[np.float64]:
    """Compute the cosine similarity of unit rows to their centroids, (n,); 0 to a zero centroid."""
    lengths = np.linalg.norm(centroids.astype(np.float64), axis=1, keepdims=True)
    directions = np.divide(centroids, lengths, out=np.zeros(centroids.shape), where=lengths > 0)

    def block(part: NDArray[np.float32], own: Indices) -> NDArray[np.float64]:
        # By differences, so that equal rows have equal values: |a − b|² = 2 − 2 cos.
        similar: NDArray[np.float64] = 1 - squared_distances(part, directions[own]) / 2
        return similar

    return np.concatenate(map_rows(block, rows, labels, block=ROWS, threads=threads))


def _to_earlier(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Compute the largest cosine similarity of each unit row to the rows before it, at least 0."""
    units = rows.astype(np.float64)
    units /= np.linalg.norm(units, axis=1, keepdims=True)

    def block(span: slice) -> NDArray[np.float64]:
        queries = units[span]
        largest = np.zeros(len(queries))
        for start in range(0, span.start, COLUMNS):
            products = queries @ units[start : min(start + COLUMNS, span.start)].T
            np.maximum(largest, products.max(axis=1), out=largest)
        np.maximum(largest, np.tril(queries @ queries.T, -1).max(axis=1), out=largest)
        return np.minimum(largest, 1)

    return np.concatenate(map_blocks(block, len(units), ROWS, 1))
