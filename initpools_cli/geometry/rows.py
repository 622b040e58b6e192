"""Rows of an array in a file that are converted as they are read, so that no float32 copy of the whole is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, Literal, NoReturn, Protocol, TypeVar

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
    array : (N, d) array
        Such as a memory map; anything that is indexed like an ndarray.
    rows : (n,) int64, optional
        The rows of `array` that are seen; default: all.
    form : {"stored", "float32", "unit"}
        As stored, as float32, or scaled to length 1 as by `unit_rows`.
    origin : (d,) float32, optional
        Subtracted from each row.
    """

    array: Any
    rows: NDArray[np.int64] | None = None
    form: Literal["stored", "float32", "unit"] = "stored"
    origin: NDArray[np.float32] | None = None

    ndim = 2

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the rows as they are read."""
        return np.dtype(self.array.dtype if self.form == "stored" else np.float32)

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and dimensions."""
        return len(self), self.array.shape[1]

    @property
    def size(self) -> int:
        """Number of values."""
        return len(self) * int(self.array.shape[1])

    def __len__(self) -> int:
        return len(self.array) if self.rows is None else len(self.rows)

    def __getitem__(self, at: Any) -> NDArray[Any]:
        """Read rows: (m, d), or (d,) for an integer."""
        if isinstance(at, int | np.integer):
            row: NDArray[Any] = self[np.array([at])][0]
            return row
        block = np.asarray(self.array[at if self.rows is None else self.rows[at]])
        if self.form == "unit":
            block = unit_block(block)
        elif self.form == "float32":
            block = np.ascontiguousarray(block, np.float32)
        return block if self.origin is None else np.subtract(block, self.origin, dtype=np.float32)

    def __array__(self, *_: object, **__: object) -> NoReturn:
        """Refuse to be converted as a whole by accident; `read` does it."""
        raise TypeError("Rows are read in blocks; call read() for all of them")

    def __reduce__(self) -> tuple[Any, ...]:
        """Send memory maps to other processes by the name of their file."""
        return _restore, (file_of(self.array) or self.array, self.rows, self.form, self.origin)

    def take(self, rows: NDArray[np.int64]) -> Rows:
        """Restrict the view to some of its rows."""
        return replace(self, rows=rows if self.rows is None else self.rows[rows])

    def read(self) -> NDArray[Any]:
        """Read all rows into memory, (n, d)."""
        return self[:]


def file_of(array: Any) -> tuple[str, np.dtype[Any], int, tuple[int, ...]] | None:
    """Return the file of a memory map, its type, where it starts and its shape; None for other arrays."""
    if not isinstance(array, np.memmap) or not array.flags.c_contiguous:
        return None
    # The offset of a slice is that of the whole map.
    whole = array.base if isinstance(array.base, np.memmap) else array
    start = array.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
    return str(array.filename), array.dtype, whole.offset + start, array.shape


def _restore(array: Any, *others: Any) -> Rows:
    if isinstance(array, tuple):
        file, dtype, offset, shape = array
        array = np.memmap(file, dtype, "r", offset, shape)
    return Rows(array, *others)


#: What functions that read an array in blocks take.
Points = NDArray[np.float32] | Rows
T = TypeVar("T")
#: Rows of a call in another process.
PART = 2**16
PointsT = TypeVar("PointsT", NDArray[np.float32], Rows, Points)


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
    executor = _executor.get()
    if executor is None or not isinstance(points, Rows):
        return _map_part(function, points, 0, len(points), by_row, block, threads)
    step = max(block, PART // block * block)
    parts = [slice(start, min(start + step, len(points))) for start in range(0, len(points), step)]
    # A worker has one thread for each call that it runs.
    jobs = [(function, *_sent(points, part), [each[part] for each in by_row], block, 1) for part in parts]
    return [value for values in executor.map(_map_part, jobs) for value in values]


def joined(parts: Sequence[NDArray[np.integer[Any]]], block: int) -> NDArray[np.int64]:
    """Join positions in the blocks of `map_rows` to rows, (m,)."""
    return np.concatenate(
        [np.empty(0, np.int64), *(part + np.int64(number * block) for number, part in enumerate(parts))]
    )


def map_subsets(
    function: Callable[[NDArray[np.float32]], T], points: Points, subsets: Sequence[NDArray[np.int64]]
) -> list[T]:
    """Call a pure function, like that of `map_rows`, on the rows of each subset."""
    executor = _executor.get()
    if executor is None or not isinstance(points, Rows):
        return map_blocks(lambda span: function(points[subsets[span.start]]), len(subsets), 1)
    return executor.map(_call, [(function, *_sent(points.take(rows), slice(0, len(rows)))) for rows in subsets])


def map_jobs(function: Callable[..., T], jobs: Iterable[Sequence[Any]]) -> list[T]:
    """Call a pure function with the arguments of each job: one after the other, or in other processes on a cluster."""
    executor = _executor.get()
    return [function(*job) for job in jobs] if executor is None else executor.map(function, jobs)


def _sent(points: Rows, part: slice) -> tuple[Rows, int, int]:
    """Return a part of a view as it is sent to another process: a view, and the range of its rows."""
    if points.rows is None:
        return points, part.start, part.stop
    return replace(points, rows=points.rows[part]), 0, part.stop - part.start


def _map_part(
    function: Callable[..., T],
    points: Any,
    start: int,
    stop: int,
    by_row: Sequence[NDArray[Any]],
    block: int,
    threads: int | None = None,
) -> list[T]:
    def call(span: slice) -> T:
        return function(points[start + span.start : start + span.stop], *(each[span] for each in by_row))

    return map_blocks(call, stop - start, block, threads)


def _call(function: Callable[[NDArray[np.float32]], T], points: Rows, start: int, stop: int) -> T:
    return function(points[start:stop])


class Executor(Protocol):
    """Calls functions in other processes."""

    def map(self, function: Callable[..., T], jobs: Iterable[Sequence[Any]]) -> list[T]:
        """Return the results of ``function(*job)`` in the order of the jobs."""


_executor: ContextVar[Executor | None] = ContextVar("executor", default=None)


@contextmanager
def on_executor(executor: Executor | None) -> Iterator[None]:
    """Context manager in which `map_rows`, `map_subsets` and `map_jobs` call functions in other processes.

    The first two do so for rows of files only. With None functions are called in this process.
    """
    before = _executor.set(executor)
    try:
        yield
    finally:
        _executor.reset(before)


def has_executor() -> bool:
    """Return whether functions on rows of files are called in other processes."""
    return _executor.get() is not None


def shifted(points: PointsT, origin: NDArray[np.float32]) -> PointsT:
    """Subtract a vector from each row, in memory for an ndarray; `points` has no origin yet."""
    if isinstance(points, Rows):
        return replace(points, origin=origin)
    return np.subtract(points, origin, dtype=np.float32)
