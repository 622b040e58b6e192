"""Whether there is room on the disk and in memory, asked before it is taken."""

from __future__ import annotations

import contextlib
import math
import shutil
from pathlib import Path

from initpools_cli.core.errors import UserError

MEMORY = Path("/proc/meminfo")
#: Limit and use of a container's memory (control groups, version 2).
LIMIT, USED = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")


def require_disk(place: Path, nbytes: int, what: str, remedy: str) -> None:
    """Refuse what does not fit on the disk of `place`, which need not exist yet.

    Raises
    ------
    UserError
        With the bytes that `what` takes and those that are free.
    """
    there = next(folder for folder in (place, *place.absolute().parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if nbytes > free:
        raise UserError(f"{what} {_size(nbytes)} on the disk of {place}, and {_size(free)} are free.", remedy)


#: What makes most strategies and scores take less memory.
FEWER = "Give a smaller number, or choose among fewer images: --set select.sample=N."


def require_memory(nbytes: int, what: str, remedy: str) -> None:
    """Refuse what does not fit into memory.

    Raises
    ------
    UserError
        With the bytes that `what` takes and those that are free.
    """
    free = free_memory()
    if nbytes > free:
        raise UserError(f"{what} {_size(nbytes)} of memory, and {_size(free)} are free.", remedy)


def free_memory() -> float:
    """Bytes of memory that this process may still take; infinite where the system does not say."""
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
