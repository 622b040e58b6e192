"""Embeddings as strategies read them: in memory, or in a file in blocks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.capacity import require_memory
from initpools_cli.core.errors import UserError
from initpools_cli.core.registry import Method
from initpools_cli.geometry.normalize import are_unit_rows, unit_rows
from initpools_cli.geometry.rows import Rows, has_executor, map_rows

Array = NDArray[Any]
# Rows per block.
ROWS = 4096
# Embeddings in a file that take more bytes as float32 are not copied as a whole.
LARGE = 2**30
SAMPLED = "Choose among fewer images: --set select.sample=N."
# float32 products of larger numbers overflow.
LARGEST = 1e15


def for_method(method: Method, points: Array) -> Array:
    """Return embeddings as a strategy or score reads them: in memory, unless it reads rows in blocks.

    Raises
    ------
    UserError
        If they do not fit in memory.
    """
    rows: object = points
    if not isinstance(rows, Rows) or method.traits.by_rows:
        return points
    size = points.size * points.dtype.itemsize
    remedy = f"{SAMPLED[:-1]}, or in more parts: --partitions N." if method.traits.partitions else SAMPLED
    require_memory(size, f"'{method.name}' reads all embeddings at once. As float32 they take", remedy)
    return rows.read()


def in_file(array: object) -> bool:
    """Return whether embeddings (n, d) are in a file, and take more than 1 GiB as float32 or are read elsewhere."""
    if isinstance(array, Rows):
        return True
    large = has_executor() or np.size(array) * np.dtype(np.float32).itemsize > LARGE  # type: ignore[arg-type]
    return isinstance(array, np.memmap) and large


def rows_of(array: object) -> Rows:
    """Return a view of embeddings in a file, as they are stored."""
    return array if isinstance(array, Rows) else Rows(array)


def _largest(rows: Array) -> float:
    return float(np.abs(rows, dtype=np.float64).max())


def as_embeddings(array: Array, normalize: bool, name: str = "embeddings") -> NDArray[np.float32]:
    """Convert validated embeddings for strategies: (n, d) float32, C-contiguous, unit rows if `normalize`.

    Embeddings of more than 1 GiB in a file are converted when rows are read, by `Rows`, which is indexed like an array.

    Parameters
    ----------
    array : (n, d) array
    normalize : bool
    name : str
        Name in the error message.

    Raises
    ------
    UserError
        If squares of values would overflow float32.
    """
    if not normalize:
        largest = max(map_rows(_largest, array, block=ROWS))
        if largest > LARGEST:
            raise UserError(
                f"{name} has values up to {largest:.3g}, too large to square in float32.",
                "Scale them to values below 1e15.",
                f"{largest:.3g}",
            )
    if not in_file(array):
        return unit_rows(array) if normalize else np.ascontiguousarray(array, np.float32)
    view = rows_of(array)
    plain = view.dtype == np.float32 and (not normalize or are_unit_rows(view))
    whole = view.form == "stored" and view.rows is None and not has_executor()
    if plain and whole and isinstance(view.array, np.ndarray) and view.array.flags.c_contiguous:
        return view.array
    if view.form == "stored" or not plain:
        view = replace(view, form="float32" if plain or not normalize else "unit")
    return cast("NDArray[np.float32]", view)
