"""Weighted sums of rows by label."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.chunked import map_blocks
from initpools_cli.geometry.distances import Floats, Indices
from initpools_cli.geometry.rows import Rows

# Rows read at once. Sums of these are added up in order.
PART = 2**16
# Float64 numbers converted at once.
BLOCK = 2**21


def sums_by_label(
    points: Floats | Rows,
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
    sums = np.zeros((k, points.shape[1]))
    for start in range(0, len(labels), PART):
        span = slice(start, min(start + PART, len(labels)))
        block = points[span if isinstance(rows, slice) else rows[span]]
        sums += _sums(block, labels[span], weights[span], k, threads)
    return sums


def _sums(
    block: Floats, labels: Indices, weights: NDArray[np.float64], k: int, threads: int | None
) -> NDArray[np.float64]:
    from scipy.sparse import csr_array

    m, d = block.shape
    order = np.argsort(labels, kind="stable")
    ends = np.concatenate([[0], np.cumsum(np.bincount(labels, minlength=k))])
    members = csr_array((weights[order], order, ends), shape=(k, m))
    sums = np.empty((k, d))

    def add(columns: slice) -> None:
        sums[:, columns] = members @ block[:, columns].astype(np.float64)

    # Blocks are columns, so that each sum is computed within one block.
    map_blocks(add, d, max(16, BLOCK // max(1, m)), threads)
    return sums
