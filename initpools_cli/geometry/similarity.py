"""Similarities from 0 to 1, and choosing rows so that every row has a similar one, without an n × n matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.errors import UserError
from initpools_cli.geometry.chunked import map_blocks, over_pairs
from initpools_cli.geometry.distances import Indices, close_up, distances_to
from initpools_cli.geometry.matmul import product

Rows = Indices | slice
Name = Literal["rbf", "student", "laplace", "cosine"]
# Degrees of freedom of "student": what the authors of MaxHerding use.
BETA = 0.5
# Of float32.
ROUNDING = 2.0**-24
# Squared distances in bandwidths beyond this are more than float32 can add up.
LARGEST = 1e30
# A block of similarities fits the cache.
ROWS, COLUMNS = 512, 1024
FIRST_BATCH, BATCH = 8, 512
# Gains that differ by less than this share of one row are ties: it is well above what rounding leaves.
TIE = 1e-6


@dataclass(frozen=True)
class PreparedRows:
    """Rows in the form in which products with them give similarities.

    Attributes
    ----------
    directions : (k, d)
    shift : (k,)
    """

    directions: NDArray[np.floating]
    shift: NDArray[np.floating]


@dataclass(frozen=True)
class Similarity:
    """How similar rows of `points` are, 1 for equal ones.

    With t = distance / bandwidth: exp(−t²) "rbf", (1 + t² / beta)^(−(beta + 1) / 2) "student", exp(−t) "laplace";
    (1 + cos) / 2 "cosine", which has no bandwidth and takes cos = 0 for a zero row.

    Attributes
    ----------
    points : (n, d) float32
    name : str
    bandwidth : float
    squares : (n,) float64
        Squared lengths of the rows.
    error : float
        What a similarity in float32 may be off by. Rounding hits the length of a row and each of the d products; of
        these errors hardly more than a few add up, and in sums over rows fewer still, so it allows for eight.
    beta : float
        Degrees of freedom of "student".
    """

    points: NDArray[np.float32]
    name: Name
    bandwidth: float
    squares: NDArray[np.float64]
    error: float
    beta: float = BETA

    def between(self, rows: Rows, others: Rows, kind: type[np.floating] = np.float64) -> Any:
        """The similarities of some rows to others, computed in `kind`."""
        return self.to(rows, self.seen_by(others, kind))

    def seen_by(self, others: Rows, kind: type[np.floating]) -> PreparedRows:
        """What similarities to `others` are computed from."""
        seen = self.points[others].astype(kind)
        if self.name == "cosine":
            seen *= (self._inverse(others) / 2).astype(kind)[:, None]
            return PreparedRows(seen, np.full(len(seen), 0.5, kind))
        scale = 1 / self.bandwidth**2
        seen *= kind(2 * scale)
        return PreparedRows(seen, (-scale * self.squares[others]).astype(kind))

    def to(self, rows: Rows, others: PreparedRows) -> Any:
        """The similarities (m, k) of some rows to those that were seen."""
        kind = others.directions.dtype
        values = product(self.points[rows].astype(kind, copy=False), others.directions.T)
        if self.name == "cosine":
            values *= self._inverse(rows).astype(kind)[:, None]
            values += others.shift
            return values
        values += others.shift
        values -= (self.squares[rows] / self.bandwidth**2).astype(kind)[:, None]
        # What is there is minus the squared distance in bandwidths; between equal rows it may be above zero.
        if self.name == "rbf":
            return np.exp(values, out=values)
        np.maximum(np.negative(values, out=values), 0, out=values)
        if self.name == "student":
            values /= self.beta
            values += 1
            return np.power(values, -(self.beta + 1) / 2, out=values)
        return np.exp(np.negative(np.sqrt(values, out=values), out=values), out=values)

    def to_all(self, row: int, threads: int | None = None) -> NDArray[np.float64]:
        """The similarities (n,) of one row to all."""
        one = self.seen_by(np.array([row]), np.float64)
        return np.concatenate(map_blocks(lambda span: self.to(span, one)[:, 0], len(self.points), ROWS, threads))

    def _inverse(self, rows: Rows) -> NDArray[np.float64]:
        lengths = np.sqrt(self.squares[rows])
        return np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)


def similarities(
    points: NDArray[np.float32], name: Name, bandwidth: float = 1.0, threads: int | None = None, beta: float = BETA
) -> Similarity:
    """The similarities among the rows of `points` (n, d).

    Raises
    ------
    UserError
        A bandwidth so small that the numbers end.
    """
    if name == "cosine":
        lengths = distances_to(points, np.zeros(points.shape[1], np.float32), threads)
        return Similarity(points, name, bandwidth, lengths, 8 * ROUNDING)
    points, squares, _ = close_up(points, threads)
    if float(squares.max()) / bandwidth**2 > LARGEST:
        raise UserError(
            f"bandwidth={bandwidth:g} is too small for embeddings of length {float(squares.max()) ** 0.5:.3g}: no "
            "image would be similar to any other.",
            "Set it to about the distance of images that are to count as similar.",
        )
    squared = 8 * ROUNDING * 4 * float(squares.max()) / bandwidth**2
    # The square root of Laplace's kernel is steepest for near rows.
    error = squared**0.5 if name == "laplace" else squared
    power = 0.0
    if name == "student":
        # Both the slope at 0 and the rounding of what is raised to the power grow with the exponent.
        power = (beta + 1) / 2
        error = squared * power / beta
    return Similarity(points, name, bandwidth, squares, min(1.0, error + (4 + power) * ROUNDING), beta)


def excess(
    similarity: Similarity,
    rows: Indices,
    held: NDArray[np.float64],
    weights: NDArray[np.float64] | None = None,
    threads: int | None = None,
) -> NDArray[np.float64]:
    """Σ_y weight(y) max(0, similarity(x, y) − held(y)) over all y, for each x in `rows`; `held` is (n,)."""
    seen = similarity.seen_by(rows, np.float64)

    def part(span: slice) -> NDArray[np.float64]:
        more = similarity.to(span, seen)
        more -= held[span, None]
        np.maximum(more, 0, out=more)
        total: NDArray[np.float64] = more.sum(axis=0) if weights is None else weights[span] @ more
        return total

    return np.asarray(np.sum(map_blocks(part, len(held), ROWS, threads), axis=0))


def row_sums(
    similarity: Similarity, weights: NDArray[np.float64] | None = None, threads: int | None = None
) -> tuple[NDArray[np.float64], float]:
    """Σ_y weight(y) similarity(x, y) of all rows, (n,), and what each may be off by."""
    n = len(similarity.points)
    each = np.ones(n) if weights is None else weights
    if similarity.name != "cosine":
        return rough_excess(similarity, np.zeros(n), weights, threads), similarity.error * float(each.sum())
    # The sum of products is the product with the sum.
    toward = map_blocks(lambda span: each[span] @ similarity.seen_by(span, np.float64).directions, n, ROWS, threads)
    together = PreparedRows(np.sum(toward, axis=0)[None], np.array([each.sum() / 2]))
    return np.concatenate(map_blocks(lambda span: similarity.to(span, together)[:, 0], n, ROWS, threads)), 0.0


def rough_excess(
    similarity: Similarity,
    held: NDArray[np.float64],
    weights: NDArray[np.float64] | None = None,
    threads: int | None = None,
) -> NDArray[np.float64]:
    """As `excess`, of all rows and in float32: each pair is looked at once and counts for both."""
    floor = held.astype(np.float32)
    scale = None if weights is None else weights.astype(np.float32)

    def above(near: NDArray[np.float32], span: slice, column: bool = False) -> NDArray[np.float32]:
        more = np.maximum(near - (floor[span, None] if column else floor[span]), 0)
        if scale is not None:
            more *= scale[span, None] if column else scale[span]
        return more

    def both(rows: slice, others: slice) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        near = similarity.between(rows, others, np.float32)
        return above(near, others).sum(axis=1), above(near, rows, column=True).sum(axis=0)

    return over_pairs(both, len(held), ROWS, threads=threads)


def rough_loss(
    similarity: Similarity,
    rows: Indices,
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    weights: NDArray[np.float64] | None = None,
    threads: int | None = None,
) -> NDArray[np.float64]:
    """What the gains (n,) of all rows lose, in float32, where `rows` are held by `after` (m,) instead of `before`."""
    lost = np.zeros(len(similarity.points))
    each = np.ones(len(lost)) if weights is None else weights

    def lose(part: slice) -> None:
        seen = similarity.seen_by(rows[part], np.float32)
        floor, most = before[part].astype(np.float32), (after[part] - before[part]).astype(np.float32)
        scale = each[rows[part]].astype(np.float32)
        nothing = np.zeros_like(floor)

        def lower(span: slice) -> None:
            more = similarity.to(span, seen)
            more -= floor
            # Faster than clip, and than with numbers instead of rows.
            np.minimum(np.maximum(more, nothing, out=more), most, out=more)
            lost[span] += (more if weights is None else np.multiply(more, scale, out=more)).sum(axis=1)

        map_blocks(lower, len(lost), ROWS, threads)

    for start in range(0, len(rows), COLUMNS):
        lose(slice(start, start + COLUMNS))
    return lost


def represent(
    similarity: Similarity,
    count: int,
    chosen: Indices,
    weights: NDArray[np.float64] | None = None,
    threads: int | None = None,
) -> tuple[Indices, NDArray[np.float64]]:
    """Choose rows that raise Σ_y weight(y) max over the chosen x of similarity(x, y) the most, until nothing raises it.

    A pick changes what holds few rows, about n / m after m picks, and only similarities to those change the gains of
    all others: the whole costs about ln(count) times what all pairs cost once. That is done in float32 and leaves upper
    bounds; rows whose bound reaches the best gain are measured in float64.

    Parameters
    ----------
    similarity : Similarity
        Of the n rows.
    count : int
        At most so many picks.
    chosen : (m,) int64
        Rows chosen before.
    weights : (n,) float64, optional
        ≥ 0; default: all 1.
    threads : int, optional

    Returns
    -------
    indices : (≤ count,) int64
        Gains within 1e-6 are ties and go to the lower index; where no gain is larger than that, there are fewer.
    gains : (≤ count,) float64
        What each adds to the sum.
    """
    n = len(similarity.points)
    each = np.ones(n) if weights is None else weights
    held = _held(similarity, chosen, threads)
    taken = np.zeros(n, bool)
    taken[chosen] = True
    if len(chosen):
        bounds = rough_excess(similarity, held, weights, threads) + similarity.error * each.sum()
    else:
        sums, error = row_sums(similarity, weights, threads)
        bounds = sums + error
    picks: list[int] = []
    gains: list[float] = []
    while len(picks) < count:
        bounds[taken] = -np.inf
        best = _settle(similarity, bounds, held, weights, threads)
        if best <= TIE:
            break
        at = int(np.flatnonzero(bounds >= best - TIE)[0])
        picks.append(at)
        gains.append(float(bounds[at]))
        taken[at] = True
        new = similarity.to_all(at, threads)
        raised = np.flatnonzero((new > held) & (each > 0))
        if 2 * len(raised) > n:
            np.maximum(held, new, out=held)
            bounds = rough_excess(similarity, held, weights, threads) + similarity.error * each.sum()
        else:
            bounds -= rough_loss(similarity, raised, held[raised], new[raised], weights, threads)
            # No rounding can move a clipped value by more than the whole step.
            bounds += (np.minimum(new[raised] - held[raised], similarity.error) * each[raised]).sum()
            held[raised] = new[raised]
    return np.array(picks, np.int64), np.array(gains)


def _settle(
    similarity: Similarity,
    bounds: NDArray[np.float64],
    held: NDArray[np.float64],
    weights: NDArray[np.float64] | None,
    threads: int | None,
) -> float:
    """Replace in `bounds`, in place, all that reach the best gain by the gains, and return that (Minoux 1978)."""
    stale = bounds > -np.inf
    size, best = FIRST_BATCH, -np.inf
    while True:
        rows = np.flatnonzero(stale & (bounds >= best - TIE))
        if not len(rows):
            return best
        rows = rows[np.argsort(-bounds[rows], kind="stable")[:size]]
        bounds[rows] = excess(similarity, rows, held, weights, threads)
        stale[rows] = False
        best = max(best, float(bounds[rows].max()))
        size = min(2 * size, BATCH)


def _held(similarity: Similarity, chosen: Indices, threads: int | None) -> NDArray[np.float64]:
    """The largest similarity of each row to the chosen, (n,); 0 without any."""
    held = np.zeros(len(similarity.points))

    def hold(span: slice) -> None:
        for start in range(0, len(chosen), BATCH):
            held[span] = np.maximum(held[span], similarity.between(span, chosen[start : start + BATCH]).max(axis=1))

    map_blocks(hold, len(held), ROWS, threads)
    return held
