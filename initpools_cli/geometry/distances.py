"""Distances between rows, and what rounding does to them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.chunked import map_blocks

Floats = NDArray[np.floating]
Indices = NDArray[np.int64]

ROWS = 1024
# A product of rows loses about as much as their squared lengths are rounded by, so up to here two bits are lost.
FAR = 4.0


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


def distances_to(points: Floats, center: Floats, threads: int | None = None) -> NDArray[np.float64]:
    """Squared Euclidean distances (n,) of the rows of `points` (n, d) from `center` (d,)."""
    return np.concatenate(map_blocks(lambda span: squared_distances(points[span], center), len(points), ROWS, threads))


def close_up(
    points: NDArray[np.float32], threads: int | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float32]]:
    """The rows, or, where they lie far from the origin, a copy of them moved so that it is their mean.

    Distances between rows stay as they are, but for rounding.

    Parameters
    ----------
    points : (n, d) float32
    threads : int, optional

    Returns
    -------
    rows : (n, d) float32
        `points` itself unless rows are more than twice as long as seen from the mean, most of them.
    squares : (n,) float64
        Their squared lengths.
    origin : (d,) float32
        What was subtracted.
    """
    nowhere = np.zeros(points.shape[1], np.float32)
    lengths = distances_to(points, nowhere, threads)
    mean = mean_row(points, threads).astype(np.float32)
    # The median, so that a row far from all others does not decide for them.
    if np.median(lengths) <= FAR * np.median(distances_to(points, mean, threads)):
        return points, lengths, nowhere
    moved = np.subtract(points, mean, dtype=np.float32)
    return moved, distances_to(moved, nowhere, threads), mean
