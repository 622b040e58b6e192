"""Rows that are exactly the same."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.chunked import map_blocks

#: Bytes of rows in one step, so that a memory-mapped array passes through in parts that fit the cache.
BLOCK = 2**21
WORD = np.uint32


def first_equal(rows: NDArray[Any]) -> NDArray[np.int64]:
    """The lowest row that equals each row.

    Parameters
    ----------
    rows : (n, d) array of numbers
        -0.0 equals 0.0. May be memory-mapped.

    Returns
    -------
    (n,) int64
        Its own index for a row that no earlier one equals.
    """
    if rows.dtype.itemsize > np.dtype(np.float64).itemsize:
        # Numbers of 80 bits are stored in 128, of which the rest may be anything.
        rows = rows.astype(np.float64)
    first = np.arange(len(rows))
    open_ = _repeated(_hashes(rows))
    # Rows that differ may have one hash, and what differs from the first row of its hash is looked at again.
    while len(open_[0]):
        members, hashes = open_
        _, starts, place = np.unique(hashes, return_index=True, return_inverse=True)
        candidates = members[starts][place]
        same = _equal(rows, members, candidates)
        first[members[same]] = candidates[same]
        open_ = members[~same], hashes[~same]
    return first


def _repeated(hashes: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """The rows whose hash another row has, ascending, and their hashes."""
    _, place, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    members = np.flatnonzero(counts[place] > 1)
    return members, hashes[members]


def _step(rows: NDArray[Any]) -> int:
    return max(1, BLOCK // max(1, rows.shape[1] * rows.dtype.itemsize))


def _hashes(rows: NDArray[Any]) -> NDArray[np.uint64]:
    """One number for each row, the same for equal ones: its 32-bit words times random odd numbers, modulo 2**64."""
    width = -(-rows.shape[1] * rows.dtype.itemsize // WORD().itemsize)
    odd = np.random.default_rng(0).integers(0, 2**63, width, dtype=np.uint64) * 2 + 1

    def part(span: slice) -> NDArray[np.uint64]:
        found: NDArray[np.uint64] = np.einsum("ij,j->i", _words(rows[span], width), odd, dtype=np.uint64)
        return found

    return np.concatenate([np.empty(0, np.uint64), *map_blocks(part, len(rows), _step(rows))])


def _words(block: NDArray[Any], width: int) -> NDArray[np.uint32]:
    """The bytes of a block of rows as 32-bit words; those of -0.0 are those of 0.0."""
    plain = np.ascontiguousarray(block + 0 if block.dtype.kind == "f" else block)
    octets = plain.view(np.uint8).reshape(len(block), -1)
    missing = width * WORD().itemsize - octets.shape[1]
    return (np.pad(octets, ((0, 0), (0, missing))) if missing else octets).view(WORD)


def _equal(rows: NDArray[Any], left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.bool_]:
    def part(span: slice) -> NDArray[np.bool_]:
        same: NDArray[np.bool_] = (rows[left[span]] == rows[right[span]]).all(axis=1)
        return same

    return np.concatenate([np.empty(0, bool), *map_blocks(part, len(left), _step(rows))])
