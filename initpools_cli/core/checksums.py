"""Checksums of files, computed once a process for as long as a file stays the same."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from pathlib import Path

from initpools_cli.core.errors import UserError

#: SHA-256 by device, inode, size and times of a file.
_known: dict[tuple[int, ...], str] = {}
#: A file changed this recently, in nanoseconds, may change again without a new time: its checksum isn't kept.
_SETTLED = 100_000_000


def checksum(path: Path) -> str:
    """Hex SHA-256 of a file's bytes, read once a process for as long as inode, size and times stay the same.

    `core.files.sha256_of` reads the file every time.
    """
    with path.open("rb") as stream:
        before = _of(os.fstat(stream.fileno()))
        if before in _known:
            return _known[before]
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        settled = time.time_ns() - max(before[-2:]) > _SETTLED
        if settled and _of(os.fstat(stream.fileno())) == before:
            _known[before] = digest
    return digest


def signature(path: Path) -> tuple[int, ...]:
    """What tells a file from the same one after a change: device, inode, size and times."""
    return _of(path.stat())


def refuse_changed(folder: Path, reads: Mapping[str, str]) -> None:
    """Refuse to record checksums of files that are no longer those that were hashed: their arrays may be either.

    Parameters
    ----------
    folder : Path
        What relative paths are relative to.
    reads : mapping of str to str
        SHA-256 by path. Files that are gone are passed over.

    Raises
    ------
    UserError
        One of them has other bytes now.
    """
    for name, before in reads.items():
        path = folder / name
        if path.is_file() and checksum(path) != before:
            raise changed(path)


def changed(path: Path) -> UserError:
    """The error for a file that somebody wrote to while it was in use."""
    return UserError(f"{path} changed while it was being read.", "Give the command again.")


def _of(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
