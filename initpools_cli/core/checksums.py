"""Checksums of files, cached within a process while a file does not change."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Generic, TypeVar

from initpools_cli.core.errors import UserError

T = TypeVar("T")
#: Nanoseconds after a change in which a file may change again with the same time stamp: nothing is cached.
_MIN_AGE = 100_000_000
#: The most values that a cache keeps: a process may write files without end.
_MOST = 4096


class FileCache(Generic[T]):
    """Values computed from files, by their `signature`: kept while a file does not change."""

    def __init__(self) -> None:
        self._values: dict[tuple[int, ...], T] = {}

    def get(self, signature: tuple[int, ...]) -> T | None:
        """Return the value of a file, None if it is not known."""
        return self._values.get(signature)

    def keep(self, before: tuple[int, ...], after: tuple[int, ...], value: T) -> None:
        """Keep a value, unless the file changed while it was computed, or may change without another signature."""
        if before == after and time.time_ns() - max(before[-2:]) > _MIN_AGE:
            if len(self._values) >= _MOST:
                self._values.clear()
            self._values[before] = value


_checksums: FileCache[str] = FileCache()


def checksum(path: Path) -> str:
    """Return the SHA-256 (hex) of a file, cached while inode, size and times stay the same.

    `core.files.sha256_of` does not cache.
    """
    with path.open("rb") as stream:
        before = _signature(os.fstat(stream.fileno()))
        digest = _checksums.get(before)
        if digest is None:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            _checksums.keep(before, _signature(os.fstat(stream.fileno())), digest)
    return digest


def signature(path: Path) -> tuple[int, ...]:
    """Return what changes when a file changes: device, inode, size and times."""
    return _signature(path.stat())


def refuse_changed(folder: Path, reads: Mapping[str, str]) -> None:
    """Raise an error if an input file changed while it was in use: its arrays may be of either version.

    Parameters
    ----------
    folder : Path
        The folder that relative paths start from.
    reads : mapping of str to str
        SHA-256 by path. Files that no longer exist are skipped.

    Raises
    ------
    UserError
        One of the files has changed.
    """
    for name, before in reads.items():
        path = folder / name
        if path.is_file() and checksum(path) != before:
            raise changed_error(path)


def changed_error(path: Path) -> UserError:
    """Return the error for a file that changed while it was in use."""
    return UserError(f"{path} changed while it was being read.", "Run the command again.", path)


def _signature(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
