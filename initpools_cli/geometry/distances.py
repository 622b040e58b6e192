"""Distances between rows, and bounds on their rounding errors."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.rows import PointsT, Rows, map_rows, shifted

Floats = NDArray[np.floating]
Indices = NDArray[np.int64]

ROWS = 1024
# The rounding error of a product is about that of the squared lengths: up to this ratio two bits are lost.
MAX_LENGTH_RATIO = 4.0


def squared_distances(a: Floats, b: Floats) -> NDArray[np.float64]:
    """Compute squared Euclidean distances row by row, from differences in float64: 0 only for equal rows.

    Parameters
    ----------
    a, b : (m, d) arrays, or one of them (d,)

    Returns
    -------
    (m,) float64
    """
    difference = np.subtract(a, b, dtype=np.float64)
    result: NDArray[np.float64] = np.einsum("ij,ij->i", difference, difference)
    return result


def product_error(dimensions: int, reach: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bound the error of a squared distance from float32 products, for vectors whose lengths add up to `reach`."""
    bound: NDArray[np.float32] = (dimensions + 8) * np.float32(2.0**-23) * reach**2 + np.float32(1e-30)
    return bound


def mean_row(points: Floats | Rows, threads: int | None = None) -> NDArray[np.float64]:
    """Compute the mean of the rows, (d,), in float64."""
    sums = map_rows(partial(np.sum, axis=0, dtype=np.float64), points, block=ROWS, threads=threads)
    mean: NDArray[np.float64] = np.sum(sums, axis=0) / len(points)
    return mean


def distances_to(points: Floats | Rows, center: Floats, threads: int | None = None) -> NDArray[np.float64]:
    """Compute squared Euclidean distances (n,) of the rows of `points` (n, d) from `center` (d,)."""
    return np.concatenate(map_rows(partial(squared_distances, b=center), points, block=ROWS, threads=threads))


def center_if_distant(
    points: PointsT, threads: int | None = None
) -> tuple[PointsT, NDArray[np.float64], NDArray[np.float32]]:
    """Subtract the mean from the rows if most of them lie far from the origin; else return them as they are.

    Distances between rows change by rounding only.

    Parameters
    ----------
    points : (n, d) float32, or Rows
    threads : int, optional

    Returns
    -------
    rows : (n, d) float32, or Rows
        `points` itself, unless the median row is more than twice as long as its distance from the mean.
    squares : (n,) float64
        Their squared lengths.
    origin : (d,) float32
        The subtracted vector.
    """
    zero = np.zeros(points.shape[1], np.float32)
    squares = distances_to(points, zero, threads)
    mean = mean_row(points, threads).astype(np.float32)
    # The median is robust to a single row far from all others.
    if np.median(squares) <= MAX_LENGTH_RATIO * np.median(distances_to(points, mean, threads)):
        return points, squares, zero
    centered = shifted(points, mean)
    return centered, distances_to(centered, zero, threads), mean
