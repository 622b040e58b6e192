"""Similarities from 0 to 1, and choosing rows so that every row has a similar one, without an n × n matrix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.blocks import map_blocks
from initpools_cli.geometry.neighbors import Indices, mean_row, product_error, squared_distances

Matrix = NDArray[np.float64]
# The similarities (m, n) of some rows to some others.
Similar = Callable[[Indices, slice], Matrix]
ROWS = 1024
FIRST_BATCH, BATCH = 32, 512
# Gains that differ by less than this share of one row are ties: it is well above what rounding leaves.
TIE = 1e-6


def similarities(
    points: NDArray[np.float32],
    name: Literal["rbf", "tophat", "student", "laplace", "cosine"],
    bandwidth: float,
    threads: int | None = None,
) -> Similar:
    """The function that gives the similarities of rows of `points` (n, d), 1 for equal ones, computed in float64.

    With t = distance / bandwidth: exp(−t²) "rbf", 1 where t < 1 and else 0 "tophat", 1 / √(1 + t²) "student", exp(−t)
    "laplace"; (1 + cos) / 2 "cosine", which has no bandwidth and takes cos = 0 for a zero row.
    """

    def cosine(rows: Indices, others: slice) -> Matrix:
        similar: Matrix = (1 + np.clip(_unit(points[rows]) @ _unit(points[others]).T, -1, 1)) / 2
        return similar

    if name == "cosine":
        return cosine
    origin = mean_row(points, threads)

    def kernel(rows: Indices, others: slice) -> Matrix:
        a, b = points[rows] - origin, points[others] - origin
        a_norms, b_norms = np.einsum("ij,ij->i", a, a), np.einsum("ij,ij->i", b, b)
        squared: Matrix = a @ (-2 * b.T)
        squared += a_norms[:, None]
        squared += b_norms
        np.maximum(squared, 0, out=squared)
        if name == "tophat":
            reach = np.sqrt(a_norms.max()) + np.sqrt(b_norms.max())
            return _inside(points[rows], points[others], squared, bandwidth * bandwidth, reach)
        squared /= bandwidth * bandwidth
        if name == "student":
            return 1 / np.sqrt(1 + squared)
        values: Matrix = np.exp(-(np.sqrt(squared) if name == "laplace" else squared))
        return values

    return kernel


def similar_to(similar: Similar, row: int, n: int, threads: int | None = None) -> NDArray[np.float64]:
    """The similarities (n,) of one row to all n."""
    rows = np.array([row])
    return np.concatenate(map_blocks(lambda span: similar(rows, span)[0], n, ROWS, threads))


def excess(
    similar: Similar, rows: Indices, held: NDArray[np.float64], threads: int | None = None
) -> NDArray[np.float64]:
    """Σ_y max(0, similarity(x, y) − held(y)) over all y, for each x in `rows`; `held` is (n,)."""

    def part(span: slice) -> NDArray[np.float64]:
        more = similar(rows, span)
        more -= held[span]
        total: NDArray[np.float64] = np.maximum(more, 0, out=more).sum(axis=1)
        return total

    return np.asarray(np.sum(map_blocks(part, len(held), ROWS, threads), axis=0))


def represent(
    similar: Similar, n: int, count: int, chosen: Indices, threads: int | None = None
) -> tuple[Indices, NDArray[np.float64]]:
    """Choose rows that raise Σ_y max over the chosen x of similarity(x, y) the most, until nothing raises it.

    A gain only shrinks as picks are added (the sum is submodular), so an old one bounds the new one from above, and
    only rows whose bound reaches the best gain are looked at again (Minoux 1978), in batches.

    Parameters
    ----------
    similar : callable
        As from `similarities`.
    n : int
        Rows in all.
    count : int
        At most so many picks.
    chosen : (m,) int64
        Rows chosen before.
    threads : int, optional

    Returns
    -------
    indices : (≤ count,) int64
        Gains within 1e-6 are ties and go to the lower index; where no gain is larger than that, there are fewer.
    gains : (≤ count,) float64
        What each adds to the sum.
    """
    held = np.zeros(n)
    for row in chosen:
        np.maximum(held, similar_to(similar, int(row), n, threads), out=held)
    bounds = np.full(n, np.inf)
    bounds[chosen] = -np.inf
    picks: list[int] = []
    gains: list[float] = []
    while len(picks) < count:
        stale = bounds > -np.inf
        size, best = FIRST_BATCH, -np.inf
        while True:
            rows = np.flatnonzero(stale & (bounds >= best - TIE))
            if not len(rows):
                break
            rows = rows[np.argsort(-bounds[rows], kind="stable")[:size]]
            bounds[rows] = excess(similar, rows, held, threads)
            stale[rows] = False
            best = max(best, float(bounds[rows].max()))
            size = min(2 * size, BATCH)
        if best <= TIE:
            break
        at = int(np.flatnonzero(bounds >= best - TIE)[0])
        picks.append(at)
        gains.append(float(bounds[at]))
        bounds[at] = -np.inf
        np.maximum(held, similar_to(similar, at, n, threads), out=held)
    return np.array(picks, np.int64), np.array(gains)


def _unit(rows: NDArray[np.float32]) -> Matrix:
    lengthy = rows.astype(np.float64)
    lengths = np.sqrt(np.einsum("ij,ij->i", lengthy, lengthy))[:, None]
    return np.divide(lengthy, lengths, out=np.zeros_like(lengthy), where=lengths > 0)


def _inside(a: NDArray[np.float32], b: NDArray[np.float32], squared: Matrix, limit: float, reach: np.float64) -> Matrix:
    """1 where the squared distance is below the limit, by differences where rounding leaves it open."""
    inside = squared < limit
    # The bound is for float32, and float64 rounds 2**29 times finer.
    slack = float(product_error(a.shape[1], np.asarray(reach, np.float32))) * 2.0**-28
    row, column = np.nonzero(np.abs(squared - limit) <= slack)
    if len(row):
        inside[row, column] = squared_distances(a[row], b[column]) < limit
    return inside.astype(np.float64)
