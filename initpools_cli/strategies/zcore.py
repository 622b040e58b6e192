"""Strategy `zcore`: coverage minus redundancy at random points of the embedding space."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.bounds import PositiveCount, PositiveFactor
from initpools_cli.geometry.chunked import map_blocks
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, best_first

# Distances per block and thread: they fit the cache.
BLOCK = 2**17
# Sampled points per partial sum; each partial sum has a number for every image.
PLACES = 2**11
SUMS_AT_ONCE = 32


@strategies.register(
    paper="Griffin, Marks & Corso 2024, arXiv:2411.15349", nested=True, cost="t n", factor=300.0, revision=2
)
def zcore(
    embeddings: NDArray[np.float32],
    labeled: NDArray[np.int64],
    budget: int,
    rng: np.random.Generator,
    *,
    n_samples: PositiveCount = 1_000_000,
    sample_dim: PositiveCount = 2,
    neighbors: PositiveCount = 1000,
    exponent: PositiveFactor = 4.0,
) -> Selection:
    """Take the images with the highest coverage minus redundancy, computed at random points of the embedding space.

    Scores are initialized uniformly in [0, 1). Then t times: in `sample_dim` random dimensions a point is drawn from
    the triangular distribution over (minimum, median, maximum); the image nearest to it by L1 distance gains 1, and its
    nearest neighbors together lose 1, in proportion to 1 / distance^exponent, or only the nearest one if its distance
    is 0. Ties go to the lower index. Labeled images take part. Distances are computed in float32.

    Parameters
    ----------
    embeddings : (n, d) float32
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator
    n_samples : int
        t. The paper uses a million for all n. With fewer, results depend more on the initial draws and the seed.
    sample_dim : int
        At most d.
    neighbors : int
        At most n − 1.
    exponent : float
        Exponent of the distance of neighbors.

    Returns
    -------
    Selection
        Scores: coverage minus redundancy.
    """
    n, d = embeddings.shape
    # Transposed, so that the values of one dimension are contiguous.
    columns = np.ascontiguousarray(embeddings.T)
    low, high = columns.min(axis=1).astype(np.float64), columns.max(axis=1).astype(np.float64)
    middle = np.concatenate(map_blocks(lambda span: np.median(columns[span].astype(np.float64), axis=1), d, 16))
    scores = rng.random((n,))
    for start in range(0, n_samples, SUMS_AT_ONCE * PLACES):
        size = min(SUMS_AT_ONCE * PLACES, n_samples - start)
        dims = distinct(rng, size, d, min(sample_dim, d))
        uniform = rng.random(dims.shape)
        places = triangular(low[dims], middle[dims], high[dims], uniform).astype(np.float32)

        def effect(
            span: slice, dims: NDArray[np.int64] = dims, places: NDArray[np.float32] = places
        ) -> NDArray[np.float64]:
            return coverage_minus_redundancy(columns, dims[span], places[span], min(neighbors, n - 1), exponent)

        for part in map_blocks(effect, size, PLACES):
            scores += part
    return best_first(scores, labeled, budget)


def distinct(rng: np.random.Generator, count: int, d: int, size: int) -> NDArray[np.int64]:
    """Draw `size` distinct numbers below `d` uniformly, `count` times, (count, size)."""
    numbers = np.empty((count, 0), np.int64)
    for n_numbers in range(size):
        new = rng.integers(d - n_numbers, size=count)
        # The draw is a rank among the remaining numbers.
        for before in np.sort(numbers, axis=1).T:
            new += new >= before
        numbers = np.column_stack([numbers, new])
    return numbers


def triangular(
    low: NDArray[np.float64], middle: NDArray[np.float64], high: NDArray[np.float64], uniform: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Transform `uniform` draws in [0, 1) to triangular distributions; constant where low equals high."""
    width = high - low
    rising = low + np.sqrt(uniform * width * (middle - low))
    falling = high - np.sqrt((1 - uniform) * width * (high - middle))
    return np.where(uniform * width < middle - low, rising, falling)


def coverage_minus_redundancy(
    columns: NDArray[np.float32],
    dims: NDArray[np.int64],
    places: NDArray[np.float32],
    neighbors: int,
    exponent: float,
) -> NDArray[np.float64]:
    """Compute the contribution of m sampled points to the scores (n,).

    Parameters
    ----------
    columns : (d, n) float32
        The embeddings, transposed.
    dims, places : (m, s)
        Dimensions, and coordinates in them.
    neighbors : int
        ≤ n − 1.
    exponent : float

    Returns
    -------
    (n,) float64
    """
    n = columns.shape[1]
    effect, size = np.zeros(n), max(1, BLOCK // n)
    # Allocated once, because allocation per block would take as long as the distances.
    memory = np.empty((2, min(size, len(dims)), n), np.float32)
    for start in range(0, len(dims), size):
        block = dims[start : start + size]
        buffer = memory[:, : len(block)]
        covering = distances(columns, block, places[start : start + size], buffer).argmin(axis=1)
        effect += np.bincount(covering, minlength=n)
        if neighbors:
            gaps = distances(columns, block, columns[block, covering[:, None]], buffer)
            gaps[np.arange(len(block)), covering] = np.inf
            lower(effect, gaps, neighbors, exponent)
    return effect


def distances(
    columns: NDArray[np.float32], dims: NDArray[np.int64], targets: NDArray[np.float32], memory: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Compute L1 distances of m targets (m, s), in the dimensions `dims` (m, s), to all n images.

    Parameters
    ----------
    columns : (d, n) float32
    dims, targets : (m, s)
    memory : (2, m, n) float32
        Overwritten; the result is its first half.

    Returns
    -------
    (m, n) float32
    """
    total, one = memory
    for place, (dim, target) in enumerate(zip(dims.T, targets.T, strict=True)):
        to = one if place else total
        np.take(columns, dim, axis=0, out=to, mode="clip")
        np.subtract(to, target[:, None], out=to)
        np.abs(to, out=to)
        if place:
            total += one
    return total


def lower(effect: NDArray[np.float64], gaps: NDArray[np.float32], neighbors: int, exponent: float) -> None:
    """Subtract the redundancy of the nearest neighbors of m images from `effect` (n,), in place.

    Parameters
    ----------
    effect : (n,) float64
    gaps : (m, n) float32
        Distances of all images, infinite to the image itself; overwritten.
    neighbors : int
    exponent : float
    """
    nearest = gaps.min(axis=1, keepdims=True)
    same = nearest[:, 0] == 0
    if same.any():
        np.subtract.at(effect, gaps[same].argmin(axis=1), 1.0)
        gaps, nearest = gaps[~same], nearest[~same]
    inside = nearest_of(gaps, neighbors)
    np.divide(nearest, gaps, out=gaps)
    # At the default exponent this is two squares, which are faster than a power.
    gaps **= 2
    gaps **= exponent / 2
    gaps *= inside
    effect -= (1 / gaps.sum(axis=1)) @ gaps


def nearest_of(gaps: NDArray[np.float32], neighbors: int) -> NDArray[np.bool_]:
    """Mark the `neighbors` smallest distances of each row (m, n); of equal ones the lower index goes first.

    Parameters
    ----------
    gaps : (m, n) float32
        One of each row is infinite.
    neighbors : int
        ≤ n − 1.
    """
    if neighbors == gaps.shape[1] - 1:
        return np.isfinite(gaps)
    last = np.partition(gaps, neighbors - 1, axis=1)[:, neighbors - 1 : neighbors]
    inside: NDArray[np.bool_] = gaps <= last
    if np.count_nonzero(inside) > neighbors * len(gaps):
        for row in np.flatnonzero(np.count_nonzero(inside, axis=1) > neighbors):
            equal = np.flatnonzero(gaps[row] == last[row])
            inside[row, equal[len(equal) + neighbors - np.count_nonzero(inside[row]) :]] = False
    return inside
