"""Checksums of files, cached within a process while a file does not change."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from pathlib import Path

from initpools_cli.core.errors import UserError

#: SHA-256 by device, inode, size and times of a file.
_cache: dict[tuple[int, ...], str] = {}
#: Nanoseconds after a change in which a file may change again with the same time stamp: its checksum is not cached.
_MIN_AGE = 100_000_000
#: The most checksums that are kept: a process may write files without end.
_MOST = 4096


def checksum(path: Path) -> str:
    """Return the SHA-256 (hex) of a file, cached while inode, size and times stay the same.

    `core.files.sha256_of` does not cache.
    """
    with path.open("rb") as stream:
        before = _signature(os.fstat(stream.fileno()))
        if before in _cache:
            return _cache[before]
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if is_settled(before) and _signature(os.fstat(stream.fileno())) == before:
            if len(_cache) >= _MOST:
                _cache.clear()
            _cache[before] = digest
    return digest


def signature(path: Path) -> tuple[int, ...]:
    """Return what changes when a file changes: device, inode, size and times."""
    return _signature(path.stat())


def is_settled(found: tuple[int, ...]) -> bool:
    """Return whether the next change of a file will change its signature."""
    return time.time_ns() - max(found[-2:]) > _MIN_AGE


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
