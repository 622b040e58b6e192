"""Greedy facility location: rows that are similar to as many others as possible, and the gains of adding one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.chunked import map_blocks, reduce_pairs
from initpools_cli.geometry.distances import Indices
from initpools_cli.geometry.similarity import ROWS, PreparedRows, RowIndex, Similarity, rows_in

# Rows whose similarities to others are computed together.
COLUMNS = 1024
FIRST_BATCH, BATCH = 8, 512
# Gains that differ by less are ties; well above their rounding error.
TIE = 1e-6


def marginal_gains(
    similarity: Similarity,
    rows: Indices,
    coverage: NDArray[np.float64],
    weights: NDArray[np.float64] | None = None,
    threads: int | None = None,
    support: Indices | None = None,
) -> NDArray[np.float64]:
    """Compute the marginal gain of each x in `rows`: Σ_y weight(y) max(0, similarity(x, y) − coverage(y)).

    `coverage` (n,) is the largest similarity of each row to the chosen rows. With `support` (k,) the sum is over these
    rows alone, and `coverage` and `weights` are theirs, (k,).
    """
    others = similarity.prepare(rows, np.float64)

    def part(span: slice) -> NDArray[np.float64]:
        more = similarity.to(rows_in(span, support), others)
        more -= coverage[span, None]
        np.maximum(more, 0, out=more)
        total: NDArray[np.float64] = more.sum(axis=0) if weights is None else weights[span] @ more
        return total

    return np.asarray(np.sum(map_blocks(part, len(coverage), ROWS, threads), axis=0))


def row_sums(
    similarity: Similarity,
    weights: NDArray[np.float64] | None = None,
    threads: int | None = None,
    support: Indices | None = None,
) -> tuple[NDArray[np.float64], float]:
    """Compute Σ_y weight(y) similarity(x, y) of all rows, (n,), and the error allowed for each sum.

    `support` (k,) are the rows y whose weight is not 0, if these are few.
    """
    n = len(similarity.points)
    each = np.ones(n) if weights is None else weights
    if similarity.name != "cosine":
        error = similarity.error * float(each.sum())
        if support is not None:
            return gains_over(similarity, support, np.zeros(len(support)), weights, threads), error
        return approximate_gains(similarity, np.zeros(n), weights, threads), error
    # A sum of products is the product with the sum.
    toward = map_blocks(lambda span: each[span] @ similarity.prepare(span, np.float64).directions, n, ROWS, threads)
    together = PreparedRows(np.sum(toward, axis=0)[None], np.array([each.sum() / 2]))
    return np.concatenate(map_blocks(lambda span: similarity.to(span, together)[:, 0], n, ROWS, threads)), 0.0


def approximate_gains(
    similarity: Similarity,
    coverage: NDArray[np.float64],
    weights: NDArray[np.float64] | None = None,
    threads: int | None = None,
) -> NDArray[np.float64]:
    """Compute the marginal gains of all rows in float32; each pair is computed once and used for both rows."""
    floor = coverage.astype(np.float32)
    scale = None if weights is None else weights.astype(np.float32)

    def above(near: NDArray[np.float32], span: slice, column: bool = False) -> NDArray[np.float32]:
        more = np.maximum(near - (floor[span, None] if column else floor[span]), 0)
        if scale is not None:
            more *= scale[span, None] if column else scale[span]
        return more

    def both(rows: slice, others: slice) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        near = similarity.between(rows, others, np.float32)
        return above(near, others).sum(axis=1), above(near, rows, column=True).sum(axis=0)

    return reduce_pairs(both, len(coverage), ROWS, threads=threads)


def gains_over(
    similarity: Similarity,
    support: Indices,
    coverage: NDArray[np.float64],
    weights: NDArray[np.float64] | None = None,
    threads: int | None = None,
) -> NDArray[np.float64]:
    """Compute the gains of all rows, (n,), like `approximate_gains`, where only the rows in `support` have weights.

    `support` and `coverage` are (k,), `weights` is (n,).
    """
    # No similarity exceeds 1 by more than rounding: so much is lost when coverage rises to 2.
    return approximate_gain_loss(similarity, support, coverage, np.full(len(support), 2.0), weights, threads)


def approximate_gain_loss(
    similarity: Similarity,
    rows: Indices,
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    weights: NDArray[np.float64] | None = None,
    threads: int | None = None,
) -> NDArray[np.float64]:
    """Compute the decrease (n,) of all gains, in float32, when `coverage` of `rows` rises from `before` to `after`.

    `rows`, `before` and `after` are (m,).
    """
    losses = np.zeros(len(similarity.points))
    each = np.ones(len(losses)) if weights is None else weights

    def lose(part: slice) -> None:
        others = similarity.prepare(rows[part], np.float32)
        floor, most = before[part].astype(np.float32), (after[part] - before[part]).astype(np.float32)
        scale = each[rows[part]].astype(np.float32)
        nothing = np.zeros_like(floor)

        def lower(span: slice) -> None:
            more = similarity.to(span, others)
            more -= floor
            # Faster than clip, and arrays are faster than scalars here.
            np.minimum(np.maximum(more, nothing, out=more), most, out=more)
            losses[span] += (more if weights is None else np.multiply(more, scale, out=more)).sum(axis=1)

        map_blocks(lower, len(losses), ROWS, threads)

    for start in range(0, len(rows), COLUMNS):
        lose(slice(start, start + COLUMNS))
    return losses


def greedy_facility_location(
    similarity: Similarity,
    count: int,
    earlier_picks: Indices,
    weights: NDArray[np.float64] | None = None,
    threads: int | None = None,
    ceiling: NDArray[np.float64] | None = None,
    candidates: NDArray[np.bool_] | None = None,
    support: Indices | None = None,
) -> tuple[Indices, NDArray[np.float64]]:
    """Choose rows greedily that maximize Σ_y weight(y) max over the chosen x of similarity(x, y).

    With a ceiling no y counts for more than that: Σ_y weight(y) min(ceiling(y), max over the chosen x).

    After m picks a new pick becomes the most similar one of about n / m rows, and only similarities to those change
    the gains of others: the whole costs about ln(count) times one pass over all pairs. That is done in float32 and
    gives upper bounds; gains of rows whose bound reaches the best gain are computed in float64.

    Parameters
    ----------
    similarity : Similarity
        Of the n rows.
    count : int
        Maximum number of picks.
    earlier_picks : (m,) int64
        Rows chosen before.
    weights : (n,) float64, optional
        ≥ 0; default: all 1.
    threads : int, optional
    ceiling : (n,) float64, optional
        ≥ 0; default: none.
    candidates : (n,) bool, optional
        Rows that may be chosen; default: all.
    support : (k,) int64, optional
        The rows whose weight is not 0, ascending, if these are few: then k n pairs are compared instead of n². Without
        a ceiling.

    Returns
    -------
    indices : (≤ count,) int64
        Gains within 1e-6 are ties and go to the lower index; fewer picks if no gain is larger than that.
    gains : (≤ count,) float64
        Increase of the sum by each pick.
    """
    n = len(similarity.points)
    each = np.ones(n) if weights is None else weights
    if support is not None:
        each = each[support]
    coverage = most_similar(similarity, slice(None) if support is None else support, earlier_picks, threads)
    above = np.zeros(n)
    if ceiling is not None:
        # A gain below a ceiling is the gain without it minus the gain from the ceiling on.
        coverage = np.minimum(coverage, ceiling)
        above = approximate_gains(similarity, ceiling, weights, threads) - similarity.error * each.sum()
    unavailable = np.zeros(n, bool) if candidates is None else ~candidates
    unavailable[earlier_picks] = True

    def measure(rows: Indices) -> NDArray[np.float64]:
        own = weights if support is None else each
        gains = marginal_gains(similarity, rows, coverage, own, threads, support)
        return gains if ceiling is None else gains - marginal_gains(similarity, rows, ceiling, weights, threads)

    def upper_bounds() -> NDArray[np.float64]:
        if support is None:
            gains = approximate_gains(similarity, coverage, weights, threads)
        else:
            gains = gains_over(similarity, support, coverage, weights, threads)
        return gains + similarity.error * each.sum() - above

    if len(earlier_picks):
        bounds = upper_bounds()
    else:
        sums, error = row_sums(similarity, weights, threads, support)
        bounds = sums + error - above
    picks: list[int] = []
    gains: list[float] = []
    while len(picks) < count:
        bounds[unavailable] = -np.inf
        best = exact_best_gain(bounds, measure)
        if best <= TIE:
            break
        at = int(np.flatnonzero(bounds >= best - TIE)[0])
        picks.append(at)
        gains.append(float(bounds[at]))
        unavailable[at] = True
        new = similarity.to_all(at, threads, support)
        new = new if ceiling is None else np.minimum(new, ceiling)
        increases = np.flatnonzero((new > coverage) & (each > 0))
        if 2 * len(increases) > len(each):
            np.maximum(coverage, new, out=coverage)
            bounds = upper_bounds()
        else:
            rows = increases if support is None else support[increases]
            bounds -= approximate_gain_loss(similarity, rows, coverage[increases], new[increases], weights, threads)
            # Rounding cannot change a clipped value by more than the whole step.
            bounds += (np.minimum(new[increases] - coverage[increases], similarity.error) * each[increases]).sum()
            coverage[increases] = new[increases]
    return np.array(picks, np.int64), np.array(gains)


def exact_best_gain(bounds: NDArray[np.float64], measure: Callable[[Indices], NDArray[np.float64]]) -> float:
    """Replace the bounds that reach the best gain by exact gains, in place, and return the best gain (Minoux 1978).

    Parameters
    ----------
    bounds : (n,) float64
        Upper bounds on gains; −inf for rows that are not candidates.
    measure : callable
        Computes the gains of some rows.
    """
    stale = bounds > -np.inf
    size, best = FIRST_BATCH, -np.inf
    while True:
        rows = np.flatnonzero(stale & (bounds >= best - TIE))
        if not len(rows):
            return best
        rows = rows[np.argsort(-bounds[rows], kind="stable")[:size]]
        bounds[rows] = measure(rows)
        stale[rows] = False
        best = max(best, float(bounds[rows].max()))
        size = min(2 * size, BATCH)


def most_similar(
    similarity: Similarity, rows: RowIndex, picks: Indices, threads: int | None = None
) -> NDArray[np.float64]:
    """Compute the largest similarity of each of `rows` to the chosen rows; 0 without any."""
    start, stop, _ = (0, len(rows), 1) if isinstance(rows, np.ndarray) else rows.indices(len(similarity.points))
    largest = np.zeros(stop - start)

    def hold(span: slice) -> None:
        of = rows[span] if isinstance(rows, np.ndarray) else slice(start + span.start, start + span.stop)
        for first in range(0, len(picks), BATCH):
            near = similarity.between(of, picks[first : first + BATCH]).max(axis=1)
            largest[span] = np.maximum(largest[span], near)

    map_blocks(hold, len(largest), ROWS, threads)
    return largest
