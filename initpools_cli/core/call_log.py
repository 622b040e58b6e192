"""Results of calls on a cluster, kept in a file until the command that made the calls is finished."""

from __future__ import annotations

import hashlib
import io
import os
import pickle  # of this user's own file, without anything that runs code  # nosec B403
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from initpools_cli.core.locks import open_private

MAGIC = b"initpools calls 1\n"
#: Key, length and checksum of a record, and whether it is compressed.
HEADER = struct.Struct("<20sQ16s?")
#: Bytes of the checksum of a header, which follows it.
CHECK = 4
#: Records of fewer bytes are compressed: most of them are the overhead of small arrays.
SMALL = 1 << 16
#: What an array is made of when it is read.
ARRAYS = {"_frombuffer", "_reconstruct", "dtype", "ndarray", "scalar"}


class CallLog:
    """A file of results by key, to which results are appended as they come.

    A record that was cut off when the process was killed, and everything after a damaged one, is dropped when the file
    is opened. Only numbers, texts, arrays, and tuples, lists and dictionaries of them are read.

    Parameters
    ----------
    path : Path
        Made if it does not exist; only this user can read it.
    limit : int
        Bytes after which nothing more is kept.
    warn : callable
        Takes the message that no more is kept: the limit is reached, or the disk is full.

    Raises
    ------
    UserError, OSError
        See `core.locks.open_private`.
    """

    def __init__(self, path: Path, limit: int, warn: Callable[[str], None]) -> None:
        self._path, self._limit, self._warn = path, limit, warn
        self._stream = os.fdopen(open_private(path), "r+b")
        self._records: dict[bytes, tuple[int, int, bytes, bool]] = {}
        self._end = self._scan()
        self._stream.truncate(self._end)
        self._full = False

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, key: bytes) -> Any:
        """Return a result; KeyError if there is none, or it is damaged."""
        start, length, check, compressed = self._records[key]
        self._stream.seek(start)
        content = self._stream.read(length)
        if _sum(content) != check:
            raise KeyError(key)
        try:
            return _Unpickler(io.BytesIO(zlib.decompress(content) if compressed else content)).load()
        except pickle.UnpicklingError:
            raise KeyError(key) from None

    def add(self, key: bytes, result: Any) -> None:
        """Append a result, unless the file is full."""
        if self._full:
            return
        content = pickle.dumps(result, protocol=5)
        compressed = len(content) < SMALL
        content = zlib.compress(content, 1) if compressed else content
        header = HEADER.pack(key, len(content), _sum(content), compressed)
        start = self._end + len(header) + CHECK
        if start + len(content) > self._limit:
            return self._stop(f"more than {self._limit / (1 << 30):.1f} GiB")
        try:
            self._stream.seek(self._end)
            self._stream.write(header + _check(header))
            self._stream.write(content)
            self._stream.flush()
        except OSError as error:
            return self._stop(f"{self._path.parent}: {os.strerror(error.errno or 0)}")
        self._records[key] = start, len(content), _sum(content), compressed
        self._end = start + len(content)

    def close(self) -> None:
        """Close the file, which keeps what it has."""
        self._stream.close()

    def _stop(self, reason: str) -> None:
        self._full = True
        self._warn(f"No more unfinished work is kept ({reason}): after an interruption, what comes now is repeated.")

    def _scan(self) -> int:
        """Find the records, and return where the last valid one ends."""
        size = os.fstat(self._stream.fileno()).st_size
        if self._stream.read(len(MAGIC)) != MAGIC:
            self._stream.seek(0)
            self._stream.truncate()
            self._stream.write(MAGIC)
            self._stream.flush()
            return len(MAGIC)
        end = len(MAGIC)
        while True:
            self._stream.seek(end)
            header, check = self._stream.read(HEADER.size), self._stream.read(CHECK)
            if len(check) < CHECK or check != _check(header):
                return end
            key, length, content_sum, compressed = HEADER.unpack(header)
            start = end + HEADER.size + CHECK
            if start + length > size:
                return end
            self._records[key] = start, length, content_sum, compressed
            end = start + length


class _Unpickler(pickle.Unpickler):
    """Reads arrays and what Python itself has; refuses everything else."""

    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] == "numpy" and name in ARRAYS:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name}")


def _sum(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def _check(header: bytes) -> bytes:
    return zlib.crc32(header).to_bytes(CHECK, "little")
