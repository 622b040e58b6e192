"""Processor cores and threads of this process."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

from initpools_cli.core.errors import UserError

#: Libraries whose version can change results.
LIBRARIES = ("numpy", "scipy", "scikit-learn", "torch")
#: The largest number of threads for each core.
THREADS_PER_CORE = 8


def available_cores() -> int:
    """Return the number of cores that this process may use; all cores if the system does not report it."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def thread_count(threads: int) -> int:
    """Return the number of threads for ``run.threads``; 0 means one for each core.

    Raises
    ------
    UserError
        More than `THREADS_PER_CORE` for each core, which takes memory and gains nothing.
    """
    cores = available_cores()
    most = THREADS_PER_CORE * cores
    if threads > most:
        raise UserError(
            f"--threads {threads} is more than {THREADS_PER_CORE} for each of the {cores} cores.",
            f"Set --threads to {most} or less, or leave out --threads for one thread per core.",
            threads,
        )
    return threads or cores


def machine() -> dict[str, str | int | None]:
    """Return the processor's name, the number of cores and the Python version, with keys cpu, cores and python."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cpu = models[0] if models else platform.processor() or platform.machine()
    return {"cpu": cpu, "cores": os.cpu_count(), "python": platform.python_version()}


def provenance() -> dict[str, str]:
    """Return the processor and the versions of Python and numerical libraries, for the step.toml of results."""
    about = machine()
    versions = [f"{name} {metadata.version(name)}" for name in LIBRARIES]
    return {"cpu": str(about["cpu"]), "libraries": ", ".join([f"python {about['python']}", *versions])}
