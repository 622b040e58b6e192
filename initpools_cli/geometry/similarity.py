"""Kernel similarities from 0 to 1, without an n × n matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.errors import UserError
from initpools_cli.geometry.chunked import map_blocks
from initpools_cli.geometry.distances import Indices, center_if_distant, distances_to
from initpools_cli.geometry.matmul import product

RowIndex = Indices | slice
Name = Literal["rbf", "student", "laplace", "cosine"]
# Degrees of freedom of "student", as used by the authors of MaxHerding.
BETA = 0.5
# Unit roundoff of float32.
ROUNDING = 2.0**-24
# Larger squared distances, in bandwidths, overflow sums in float32.
LARGEST = 1e30
# Rows per block: a block of similarities fits the cache.
ROWS = 512


@dataclass(frozen=True)
class PreparedRows:
    """Rows scaled so that products with them give similarities.

    Attributes
    ----------
    directions : (k, d)
    shift : (k,)
    """

    directions: NDArray[np.floating]
    shift: NDArray[np.floating]


@dataclass(frozen=True)
class Similarity:
    """Kernel similarity between rows of `points`, 1 for equal rows.

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
        Error allowed for a similarity in float32. The length of a row and each of the d products are rounded; these
        errors largely cancel, so the allowance is for eight of them.
    beta : float
        Degrees of freedom of "student".
    """

    points: NDArray[np.float32]
    name: Name
    bandwidth: float
    squares: NDArray[np.float64]
    error: float
    beta: float = BETA

    def between(self, rows: RowIndex, others: RowIndex, kind: type[np.floating] = np.float64) -> Any:
        """Compute the similarities (m, k) of `rows` to `others` in the dtype `kind`."""
        return self.to(rows, self.prepare(others, kind))

    def prepare(self, others: RowIndex, kind: type[np.floating]) -> PreparedRows:
        """Scale `others` for `to`."""
        directions = self.points[others].astype(kind)
        if self.name == "cosine":
            directions *= (self._inverse(others) / 2).astype(kind)[:, None]
            return PreparedRows(directions, np.full(len(directions), 0.5, kind))
        scale = 1 / self.bandwidth**2
        directions *= kind(2 * scale)
        return PreparedRows(directions, (-scale * self.squares[others]).astype(kind))

    def to(self, rows: RowIndex, others: PreparedRows) -> Any:
        """Compute the similarities (m, k) of `rows` to prepared rows."""
        kind = others.directions.dtype
        values = product(self.points[rows].astype(kind, copy=False), others.directions.T)
        if self.name == "cosine":
            values *= self._inverse(rows).astype(kind)[:, None]
            values += others.shift
            return values
        values += others.shift
        values -= (self.squares[rows] / self.bandwidth**2).astype(kind)[:, None]
        # The values are minus the squared distances in bandwidths; rounding may make them positive for equal rows.
        if self.name == "rbf":
            return np.exp(values, out=values)
        np.maximum(np.negative(values, out=values), 0, out=values)
        if self.name == "student":
            values /= self.beta
            values += 1
            return np.power(values, -(self.beta + 1) / 2, out=values)
        return np.exp(np.negative(np.sqrt(values, out=values), out=values), out=values)

    def to_all(self, row: int, threads: int | None = None, others: Indices | None = None) -> NDArray[np.float64]:
        """Compute the similarities (n,) of one row to all rows, or (k,) to `others`."""
        one = self.prepare(np.array([row]), np.float64)
        n = len(self.points if others is None else others)
        return np.concatenate(map_blocks(lambda span: self.to(rows_in(span, others), one)[:, 0], n, ROWS, threads))

    def _inverse(self, rows: RowIndex) -> NDArray[np.float64]:
        lengths = np.sqrt(self.squares[rows])
        return np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)


def rows_in(span: slice, rows: Indices | None) -> RowIndex:
    """Return the part of `rows` in a range; None stands for all rows."""
    return span if rows is None else rows[span]


def similarities(
    points: NDArray[np.float32], name: Name, bandwidth: float = 1.0, threads: int | None = None, beta: float = BETA
) -> Similarity:
    """Build the similarity of the rows of `points` (n, d).

    Raises
    ------
    UserError
        If the bandwidth is so small that squared distances overflow.
    """
    if name == "cosine":
        lengths = distances_to(points, np.zeros(points.shape[1], np.float32), threads)
        return Similarity(points, name, bandwidth, lengths, 8 * ROUNDING)
    points, squares, _ = center_if_distant(points, threads)
    if float(squares.max()) / bandwidth**2 > LARGEST:
        raise UserError(
            f"bandwidth={bandwidth:g} is too small for embeddings of length {float(squares.max()) ** 0.5:.3g}: no "
            "image would be similar to any other.",
            "Set bandwidth to about the distance between similar images.",
            f"{bandwidth:g}",
        )
    error_of_square = 8 * ROUNDING * 4 * float(squares.max()) / bandwidth**2
    # The square root in the Laplace kernel is steepest for near rows.
    error = error_of_square**0.5 if name == "laplace" else error_of_square
    power = 0.0
    if name == "student":
        # The slope at 0 and the rounding error of the power grow with the exponent.
        power = (beta + 1) / 2
        error = error_of_square * power / beta
    return Similarity(points, name, bandwidth, squares, min(1.0, error + (4 + power) * ROUNDING), beta)
