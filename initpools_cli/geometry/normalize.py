"""L2 normalization of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.chunked import map_blocks

ROWS = 4096
# Rows that are scaled at a time.
CACHED = 256
# Rounding error of a squared length of 1 in float32.
CLOSE = 1e-6


def unit_rows(array: NDArray[Any]) -> NDArray[np.float32]:
    """Scale the rows of `array` (n, d) to length 1, float32 and C-contiguous; zero rows stay zero.

    An array that has this form already, up to rounding, is returned itself.
    """
    if array.dtype == np.float32 and array.flags.c_contiguous and are_unit_rows(array):
        return array
    scaled = np.empty(array.shape, np.float32)

    def unit(span: slice) -> None:
        scaled[span] = unit_block(array[span])

    map_blocks(unit, len(array), ROWS)
    return scaled


def unit_block(rows: NDArray[Any]) -> NDArray[np.float32]:
    """Scale a few rows (m, d) to length 1, in float64; zero rows stay zero."""
    scaled = np.empty(rows.shape, np.float32)
    # Few rows at a time, so that they stay in the cache.
    buffer = np.empty((min(len(rows), CACHED), *rows.shape[1:]))
    for start in range(0, len(rows), CACHED):
        part = rows[start : start + CACHED]
        block = buffer[: len(part)]
        block[...] = part
        # First divided by the largest entry, so that no square overflows or underflows.
        _divide(block, np.maximum(block.max(axis=1), -block.min(axis=1)))
        _divide(block, np.sqrt(np.einsum("ij,ij->i", block, block)))
        scaled[start : start + CACHED] = block
    return scaled


def _divide(block: NDArray[np.float64], by: NDArray[np.float64]) -> None:
    """Divide rows in place, by positive numbers only; other rows become zero."""
    zero = ~(by > 0)
    block[zero] = 0
    by[zero] = 1
    block /= by[:, None]


def are_unit_rows(array: Any) -> bool:
    """Return whether all rows have length 1 up to rounding, or are zero; the first row is looked at first."""
    return _is_unit(array[:1]) and all(map_blocks(lambda span: _is_unit(array[span]), len(array), ROWS))


def _is_unit(rows: NDArray[np.float32]) -> bool:
    squares = np.einsum("ij,ij->i", rows, rows, dtype=np.float64)
    return bool(((np.abs(squares - 1) <= CLOSE) | ~rows.any(axis=1)).all())
