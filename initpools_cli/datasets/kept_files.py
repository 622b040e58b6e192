"""Small files whose content stays in memory, so that each is opened once for its header and its pixels."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Protocol

from initpools_cli.datasets.stored.shards import OriginalFile, Shards, StoredImage

#: Files of at most this size are kept, bytes: opening them costs more than reading them.
LARGEST = 64 << 10
#: All content that is kept at most, bytes.
ROOM = 256 << 20


class Images(Protocol):
    """Images by relative path: a folder, shards, or `KeptFiles`."""

    def __truediv__(self, path: str, /) -> OriginalFile:
        """Return the image of a path."""


class KeptFiles:
    """The files of a folder; shards are read as they are.

    Parameters
    ----------
    root : Path or Shards
    """

    def __init__(self, root: Path | Shards) -> None:
        self._root = root
        self._contents: dict[Path, bytes] = {}
        self._room = ROOM

    def __truediv__(self, path: str, /) -> OriginalFile:
        """Return the image of a path."""
        file = self._root / path
        if not isinstance(file, Path) or (file not in self._contents and not self._fits(file)):
            return file
        return StoredImage(path, file, 0, 0, self._read)

    def _fits(self, file: Path) -> bool:
        try:
            status = os.stat(file)  # noqa: PTH116 -- three times as fast for many files
        except (OSError, ValueError):
            return False
        return stat.S_ISREG(status.st_mode) and status.st_size <= min(LARGEST, self._room)

    def _read(self, file: Path, _start: int, _size: int) -> bytes:
        content = self._contents.get(file)
        if content is None:
            content = file.read_bytes()
            if len(content) <= min(LARGEST, self._room):
                self._contents[file] = content
                self._room -= len(content)
        return content
