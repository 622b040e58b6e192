"""The processor of this machine, and how much of it there is for this process."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from initpools_cli.core.errors import UserError

#: The most threads that are started for a core.
THREADS_PER_CORE = 8


def available_cores() -> int:
    """The cores this process may run on; those of the machine where the system does not tell."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_of(wanted: int) -> int:
    """The threads that ``run.threads`` means: 0 is all cores.

    Raises
    ------
    UserError
        More than `THREADS_PER_CORE` for each core, which takes memory and gains nothing.
    """
    most = THREADS_PER_CORE * available_cores()
    if wanted > most:
        raise UserError(
            f"--threads {wanted} is more than {THREADS_PER_CORE} for each of the {available_cores()} cores here.",
            f"Give up to {most}, or leave it out for one thread a core.",
        )
    return wanted or available_cores()


def machine() -> dict[str, str | int | None]:
    """The processor's name, the machine's cores and the version of Python: cpu, cores, python."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cpu = models[0] if models else platform.processor() or platform.machine()
    return {"cpu": cpu, "cores": os.cpu_count(), "python": platform.python_version()}
