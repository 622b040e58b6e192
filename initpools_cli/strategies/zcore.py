"""ZCore: images that cover random places of the embedding, less those that repeat others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.bounds import PositiveCount, PositiveFactor
from initpools_cli.geometry.chunked import map_blocks
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, best_first

# Distances held at once by one thread: they fit the cache.
HELD = 2**17
# Places whose effects are added up before others see them: each sum is a number for every image.
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
    """Take the images with the highest coverage less redundancy, both measured at random places of the embedding.

    Every score begins as a draw from [0, 1). Then t times: in `sample_dim` random dimensions a place is drawn from the
    triangular distribution over (minimum, median, maximum); the image nearest to it by L1 gains 1, and that image's
    nearest neighbors lose 1 together, in proportion to 1 / distance^exponent, or, where the nearest one is in the same
    place, that one alone. Of equally near ones the lower index comes first. Labeled images take part. Distances are
    taken in float32.

    Parameters
    ----------
    embeddings : (n, d) float32
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator
    n_samples : int
        t. The paper has a million, whatever n is. With fewer the first draws decide more, and two seeds agree less.
    sample_dim : int
        At most d.
    neighbors : int
        At most n − 1.
    exponent : float

    Returns
    -------
    Selection
        Scores: coverage less redundancy.
    """
    n, d = embeddings.shape
    # The values of one dimension lie together.
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
            return coverage_less_redundancy(columns, dims[span], places[span], min(neighbors, n - 1), exponent)

        for part in map_blocks(effect, size, PLACES):
            scores += part
    return best_first(scores, labeled, budget)


def distinct(rng: np.random.Generator, count: int, d: int, size: int) -> NDArray[np.int64]:
    """Draws of `size` different numbers below `d` each, (count, size), all of them equally likely."""
    drawn = np.empty((count, 0), np.int64)
    for taken in range(size):
        new = rng.integers(d - taken, size=count)
        # Counted among the numbers that are left.
        for before in np.sort(drawn, axis=1).T:
            new += new >= before
        drawn = np.column_stack([drawn, new])
    return drawn


def triangular(
    low: NDArray[np.float64], middle: NDArray[np.float64], high: NDArray[np.float64], uniform: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Draws from triangular distributions, from `uniform` in [0, 1); the one value there is where low equals high."""
    width = high - low
    rising = low + np.sqrt(uniform * width * (middle - low))
    falling = high - np.sqrt((1 - uniform) * width * (high - middle))
    return np.where(uniform * width < middle - low, rising, falling)


def coverage_less_redundancy(
    columns: NDArray[np.float32],
    dims: NDArray[np.int64],
    places: NDArray[np.float32],
    neighbors: int,
    exponent: float,
) -> NDArray[np.float64]:
    """What m places add to the scores (n,) of ZCore.

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
    effect, size = np.zeros(n), max(1, HELD // n)
    # New memory for every block would take as long as the distances.
    memory = np.empty((2, min(size, len(dims)), n), np.float32)
    for start in range(0, len(dims), size):
        block = dims[start : start + size]
        held = memory[:, : len(block)]
        covering = distances(columns, block, places[start : start + size], held).argmin(axis=1)
        effect += np.bincount(covering, minlength=n)
        if neighbors:
            gaps = distances(columns, block, columns[block, covering[:, None]], held)
            gaps[np.arange(len(block)), covering] = np.inf
            lower(effect, gaps, neighbors, exponent)
    return effect


def distances(
    columns: NDArray[np.float32], dims: NDArray[np.int64], targets: NDArray[np.float32], memory: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The distances by L1 of m targets (m, s), in the dimensions `dims` (m, s), to all n images.

    Parameters
    ----------
    columns : (d, n) float32
    memory : (2, m, n) float32
        Written to; what is returned is the first half.

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
    """Take from `effect` (n,), in place, what the nearest neighbors of m images lose.

    Parameters
    ----------
    effect : (n,) float64
    gaps : (m, n) float32
        The distances of all images, infinite to the image itself; written over.
    neighbors : int
    exponent : float
    """
    nearest = gaps.min(axis=1, keepdims=True)
    same = nearest[:, 0] == 0
    if same.any():
        np.subtract.at(effect, gaps[same].argmin(axis=1), 1.0)
        gaps, nearest = gaps[~same], nearest[~same]
    last = np.partition(gaps, neighbors - 1, axis=1)[:, neighbors - 1 : neighbors]
    inside = gaps <= last
    if np.count_nonzero(inside) > neighbors * len(gaps):
        for row in np.flatnonzero(np.count_nonzero(inside, axis=1) > neighbors):
            equal = np.flatnonzero(gaps[row] == last[row])
            inside[row, equal[len(equal) + neighbors - np.count_nonzero(inside[row]) :]] = False
    np.divide(nearest, gaps, out=gaps)
    # Two squares at the default exponent, which are faster than a power.
    gaps **= 2
    gaps **= exponent / 2
    gaps *= inside
    effect -= (1 / gaps.sum(axis=1)) @ gaps
