"""Sparse similarities to the nearest rows, and greedy facility location with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.capacity import FEWER, require_memory
from initpools_cli.geometry.distances import Indices
from initpools_cli.geometry.facility_location import TIE
from initpools_cli.geometry.knn import each_neighborhood
from initpools_cli.geometry.normalize import unit_rows

if TYPE_CHECKING:
    from scipy.sparse import csr_array


def nearby_similarities(
    points: NDArray[np.float32], name: Literal["cosine", "rbf"], bandwidth: float, neighbors: int, probes: int = 0
) -> csr_array:
    """Compute the similarities of each row to itself and to its nearest rows; all others are 0.

    Parameters
    ----------
    points : (n, d) float32
    name : {"cosine", "rbf"}
    bandwidth : float
    neighbors : int
        Number of nearest rows, capped at n − 1. Two rows are neighbors if either is among the nearest of the other.
    probes : int
        As for `knn.knn`.

    Returns
    -------
    (n, n) csr_array of float64
        Symmetric.
    """
    from scipy.sparse import csr_array

    n, k = len(points), min(neighbors, len(points) - 1)
    rows = unit_rows(points) if name == "cosine" else points
    nonzero = np.asarray(rows.any(axis=1)) if name == "cosine" else np.ones(n, bool)
    # Column 0 is the row itself.
    require_memory(n * (k + 1) * 24, f"The {k:,} nearest of each of {n:,} images take", FEWER)
    index, values = np.empty((n, k + 1), np.int32), np.empty((n, k + 1))
    index[:, 0], values[:, 0] = np.arange(n), np.where(nonzero, 1.0, 0.5)

    def take(own: Indices | slice, near: Indices, sq_distances: NDArray[np.float64]) -> None:
        # For unit vectors |a − b|² = 2 − 2 cos; a zero row has no direction, and its cosine counts as 0.
        similar = 1 - sq_distances / 4 if name == "cosine" else np.exp(-sq_distances / bandwidth**2)
        similar[~(nonzero[own][:, None] & nonzero[near])] = 0.5
        index[own, 1:], values[own, 1:] = near, similar

    if k:
        each_neighborhood(rows, k, take, probes=probes)
    near = csr_array((values.ravel(), index.ravel(), np.arange(0, index.size + 1, k + 1)), shape=(n, n))
    return near.maximum(near.T).tocsr()


def sparse_facility_location(
    similar: csr_array, count: int, earlier_picks: Indices
) -> tuple[Indices, NDArray[np.float64]]:
    """Like `similarity.greedy_facility_location`, for sparse similarities: all gains are updated after each pick.

    Parameters
    ----------
    similar : (n, n) csr_array
        Symmetric.
    count : int
        Maximum number of picks.
    earlier_picks : (m,) int64
        Rows chosen before.

    Returns
    -------
    indices : (≤ count,) int64
        Gains within 1e-6 are ties and go to the lower index; fewer picks if no gain is larger than that.
    gains : (≤ count,) float64
    """
    coverage = np.zeros(similar.shape[0])
    bounds, columns, values = similar.indptr, similar.indices, similar.data
    gains = np.asarray(similar.sum(axis=1), np.float64)

    def hold(row: int) -> None:
        own = slice(bounds[row], bounds[row + 1])
        increases = columns[own][values[own] > coverage[columns[own]]]
        before, after = coverage[increases], values[own][values[own] > coverage[columns[own]]]
        coverage[increases] = after
        sizes = bounds[increases + 1] - bounds[increases]
        at = np.arange(sizes.sum()) + np.repeat(bounds[increases] - np.cumsum(sizes) + sizes, sizes)
        losses = np.clip(values[at] - np.repeat(before, sizes), 0, np.repeat(after - before, sizes))
        np.subtract.at(gains, columns[at], losses)
        gains[row] = -np.inf

    for row in earlier_picks:
        hold(int(row))
    picks: list[int] = []
    pick_gains: list[float] = []
    while len(picks) < count and gains.max() > TIE:
        at = int(np.flatnonzero(gains >= gains.max() - TIE)[0])
        picks.append(at)
        pick_gains.append(float(gains[at]))
        hold(at)
    return np.array(picks, np.int64), np.array(pick_gains)
