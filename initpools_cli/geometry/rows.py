"""Rows of an array in a file that are converted as they are read, so that no float32 copy of the whole is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.chunked import map_blocks
from initpools_cli.geometry.normalize import unit_block


@dataclass(frozen=True, eq=False)
class Rows:
    """Read-only view of stored embeddings (n, d); indexing by a slice, an index or an index array gives an ndarray.

    Functions that read an array in blocks take it instead of an ndarray.

    Attributes
    ----------
    stored : (N, d) array
        Such as a memory map; anything that is indexed like an ndarray.
    rows : (n,) int64, optional
        The rows of `stored` that are seen; default: all.
    form : {"stored", "float32", "unit"}
        As stored, as float32, or scaled to length 1 as by `unit_rows`.
    origin : (d,) float32, optional
        Subtracted from each row.
    """

    stored: Any
    rows: NDArray[np.int64] | None = None
    form: Literal["stored", "float32", "unit"] = "stored"
    origin: NDArray[np.float32] | None = None

    ndim = 2

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the rows as they are read."""
        return np.dtype(self.stored.dtype if self.form == "stored" else np.float32)

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and dimensions."""
        return len(self), self.stored.shape[1]

    @property
    def size(self) -> int:
        """Number of values."""
        return len(self) * int(self.stored.shape[1])

    def __len__(self) -> int:
        return len(self.stored) if self.rows is None else len(self.rows)

    def __getitem__(self, at: Any) -> NDArray[Any]:
        """Read rows: (m, d), or (d,) for an integer."""
        if isinstance(at, int | np.integer):
            row: NDArray[Any] = self[np.array([at])][0]
            return row
        block = np.asarray(self.stored[at if self.rows is None else self.rows[at]])
        if self.form == "unit":
            block = unit_block(block)
        elif self.form == "float32":
            block = np.ascontiguousarray(block, np.float32)
        return block if self.origin is None else np.subtract(block, self.origin, dtype=np.float32)

    def __array__(self, *_: object, **__: object) -> NoReturn:
        """Refuse to be converted as a whole by accident; `read` does it."""
        raise TypeError("Rows are read in blocks; call read() for all of them")

    def take(self, rows: NDArray[np.int64]) -> Rows:
        """Restrict the view to some of its rows."""
        return replace(self, rows=rows if self.rows is None else self.rows[rows])

    def read(self) -> NDArray[Any]:
        """Read all rows into memory, (n, d)."""
        return self[:]


#: What functions that read an array in blocks take.
Points = NDArray[np.float32] | Rows
T = TypeVar("T")
P = TypeVar("P", NDArray[np.float32], Rows, Points)


def view(points: Points, rows: NDArray[np.int64]) -> Points:
    """Return a view of some rows; the points themselves if `rows` has as many as they."""
    if len(rows) == len(points):
        return points
    return points.take(rows) if isinstance(points, Rows) else Rows(points, rows)


def map_rows(
    function: Callable[..., T], points: Any, *by_row: NDArray[Any], block: int, threads: int | None = None
) -> list[T]:
    """Call a function on blocks of rows, with the values that further arrays have for them.

    Parameters
    ----------
    function : callable
        Takes (m, d) rows and, for each array of `by_row`, its m values. It must be pure and capture little: on a
        cluster it is sent to other processes.
    points : (n, d) array or Rows
    *by_row : (n, …) arrays
    block : int
        Number of rows per block.
    threads : int, optional

    Returns
    -------
    list
        In the order of the blocks.
    """
    return map_blocks(
        lambda span: function(points[span], *(each[span] for each in by_row)), len(points), block, threads
    )


def shifted(points: P, origin: NDArray[np.float32]) -> P:
    """Subtract a vector from each row, in memory for an ndarray; `points` has no origin yet."""
    if isinstance(points, Rows):
        return replace(points, origin=origin)
    return np.subtract(points, origin, dtype=np.float32)
