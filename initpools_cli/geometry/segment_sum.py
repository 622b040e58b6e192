"""Weighted sums of rows by label."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.chunked import map_blocks
from initpools_cli.geometry.distances import Indices
from initpools_cli.geometry.rows import Points, map_rows, view

# More rows are summed in parts of this many, whose sums are added up in order.
PART = 2**16
# Float64 numbers converted at once.
BLOCK = 2**21


def sums_by_label(
    points: Points,
    rows: Indices | slice,
    labels: Indices,
    weights: NDArray[np.float64],
    k: int,
    threads: int | None = None,
) -> NDArray[np.float64]:
    """Sum the rows of each label, multiplied by their weights.

    Parameters
    ----------
    points : (n, d) float32, or Rows
    rows : (m,) int64, or slice(None)
        The rows to sum; all for the slice.
    labels : (m,) int64
        From 0 to k − 1.
    weights : (m,) float64
    k : int
    threads : int, optional

    Returns
    -------
    (k, d) float64
    """
    selection = points if isinstance(rows, slice) else view(points, rows)
    if len(labels) <= PART:
        return _sums(selection[:], labels, weights, k, threads)
    parts = map_rows(partial(_sums, k=k, threads=1), selection, labels, weights, block=PART, threads=threads)
    return np.asarray(sum(parts))


def _sums(
    rows: NDArray[np.float32], labels: Indices, weights: NDArray[np.float64], k: int, threads: int | None
) -> NDArray[np.float64]:
    from scipy.sparse import csr_array

    m, d = rows.shape
    order = np.argsort(labels, kind="stable")
    ends = np.concatenate([[0], np.cumsum(np.bincount(labels, minlength=k))])
    members = csr_array((weights[order], order, ends), shape=(k, m))
    sums = np.empty((k, d))

    def add(columns: slice) -> None:
        sums[:, columns] = members @ rows[:, columns].astype(np.float64)

    # Blocks are columns, so that each sum is computed within one block.
    map_blocks(add, d, max(16, BLOCK // max(1, m)), threads)
    return sums
