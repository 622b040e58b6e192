"""Damage of single files of a finished run: what commands that read them make of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def flip(path: Path, place: int = -1) -> None:
    """Change one bit, in place, and leave size, time and inode as they were."""
    status = path.stat()
    with path.open("r+b") as stream:
        stream.seek(place, os.SEEK_END if place < 0 else os.SEEK_SET)
        byte = stream.read(1)[0]
        stream.seek(-1, os.SEEK_CUR)
        stream.write(bytes([byte ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def cut(path: Path) -> None:
    """Leave the first half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGES: dict[str, Callable[[Path], None]] = {"flip": flip, "cut": cut, "lose": Path.unlink}


def files_of_run(run: Path) -> list[Path]:
    """The files of a run that have checksums, or hold them."""
    return [file for file in sorted(run.rglob("*")) if file.is_file() and not {".partial", "plot"} & set(file.parts)]
