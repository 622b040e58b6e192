"""Detection of exactly equal rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.chunked import map_blocks
from initpools_cli.geometry.rows import Rows, map_rows

# Bytes of rows per block, so that blocks of a memory-mapped array fit the cache.
BLOCK = 2**21
WORD = np.uint32


def first_equal(rows: NDArray[Any] | Rows) -> NDArray[np.int64]:
    """Find the lowest row that equals each row.

    Parameters
    ----------
    rows : (n, d) array of numbers, or Rows
        -0.0 equals 0.0. May be memory-mapped.

    Returns
    -------
    (n,) int64
        A row's own index where no earlier row equals it.
    """
    if isinstance(rows, np.ndarray) and rows.dtype.itemsize > np.dtype(np.float64).itemsize:
        # 80-bit numbers are stored in 128 bits; the padding bits are undefined.
        rows = rows.astype(np.float64)
    first = np.arange(len(rows))
    members, hashes = _repeated(_hashes(rows))
    # Different rows may share a hash; rows that differ from the first row of their hash are compared again.
    while len(members):
        _, starts, place = np.unique(hashes, return_index=True, return_inverse=True)
        candidates = members[starts][place]
        same = _equal(rows, members, candidates)
        first[members[same]] = candidates[same]
        members, hashes = members[~same], hashes[~same]
    return first


def _repeated(hashes: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Return the rows whose hash occurs more than once, ascending, and their hashes."""
    _, place, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    members = np.flatnonzero(counts[place] > 1)
    return members, hashes[members]


def _step(rows: NDArray[Any] | Rows) -> int:
    return max(1, BLOCK // max(1, rows.shape[1] * rows.dtype.itemsize))


def _hashes(rows: NDArray[Any] | Rows) -> NDArray[np.uint64]:
    """Hash each row, equal rows alike: its 32-bit words times random odd numbers, modulo 2**64."""
    width = -(-rows.shape[1] * rows.dtype.itemsize // WORD().itemsize)
    odd = np.random.default_rng(0).integers(0, 2**63, width, dtype=np.uint64) * 2 + 1

    def part(block: NDArray[Any]) -> NDArray[np.uint64]:
        hashes: NDArray[np.uint64] = np.einsum("ij,j->i", _words(block, width), odd, dtype=np.uint64)
        return hashes

    return np.concatenate([np.empty(0, np.uint64), *map_rows(part, rows, block=_step(rows))])


def _words(block: NDArray[Any], width: int) -> NDArray[np.uint32]:
    """Return the bytes of a block of rows as 32-bit words, with -0.0 replaced by 0.0."""
    plain = np.ascontiguousarray(block + 0 if block.dtype.kind == "f" else block)
    octets = plain.view(np.uint8).reshape(len(block), -1)
    missing = width * WORD().itemsize - octets.shape[1]
    return (np.pad(octets, ((0, 0), (0, missing))) if missing else octets).view(WORD)


def _equal(rows: NDArray[Any] | Rows, left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.bool_]:
    def part(span: slice) -> NDArray[np.bool_]:
        same: NDArray[np.bool_] = (rows[left[span]] == rows[right[span]]).all(axis=1)
        return same

    return np.concatenate([np.empty(0, bool), *map_blocks(part, len(left), _step(rows))])
