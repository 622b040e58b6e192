"""Removal of scratch files and folders."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

#: A call may fail once, on a network file system or a bad disk, and succeed when it is repeated.
ATTEMPTS = 2


def remove_folder(path: Path) -> None:
    """Remove a folder and all below it; what can't be removed stays."""
    for _ in range(ATTEMPTS):
        shutil.rmtree(path, ignore_errors=True)
        if not path.exists():
            return


def remove_file(path: Path) -> None:
    """Remove a file; one that can't be removed stays."""
    for _ in range(ATTEMPTS):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
            return
