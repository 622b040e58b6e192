"""Checks of free disk space and free memory before they are used."""

from __future__ import annotations

import contextlib
import math
import shutil
from pathlib import Path

from initpools_cli.core.errors import UserError

MEMORY = Path("/proc/meminfo")
#: Memory limit and use of a container (control groups, version 2).
LIMIT, USED = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")


def require_disk(folder: Path, nbytes: int, what: str, remedy: str) -> None:
    """Raise an error if `nbytes` do not fit on the disk of a folder.

    Parameters
    ----------
    folder : Path
        It need not exist yet.
    what : str
        Subject and verb of the message, such as "The arrays of FILE take".

    Raises
    ------
    UserError
        With the required and the free bytes.
    """
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if nbytes > free:
        size = _size(nbytes)
        raise UserError(f"{what} {size} on the disk of {folder}, but only {_size(free)} are free.", remedy, size)


#: The remedy for most strategies and scores that need too much memory.
FEWER = "Give a smaller number, or choose among fewer images: --set select.sample=N."


def require_memory(nbytes: int, what: str, remedy: str) -> None:
    """Raise an error if `nbytes` do not fit in memory.

    Parameters
    ----------
    what : str
        Subject and verb of the message, such as "The distances take".

    Raises
    ------
    UserError
        With the required and the free bytes.
    """
    free = free_memory()
    if nbytes > free:
        size = _size(nbytes)
        raise UserError(f"{what} {size} of memory, but only {_size(free)} are free.", remedy, size)


def free_memory() -> float:
    """Return the bytes of memory that this process can still allocate; infinite if the system does not report it."""
    free = math.inf
    with contextlib.suppress(OSError, ValueError, StopIteration):
        line = next(line for line in MEMORY.read_text().splitlines() if line.startswith("MemAvailable:"))
        free = 1024.0 * int(line.split()[1])
    # Without a limit the file says "max".
    with contextlib.suppress(OSError, ValueError):
        free = min(free, float(int(LIMIT.read_text()) - int(USED.read_text())))
    return max(free, 0.0)


def _size(nbytes: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if nbytes >= size:
            return f"{nbytes / size:.1f} {unit}"
    return f"{nbytes / 1e3:.1f} kB"
