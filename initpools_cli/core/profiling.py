"""Measurement of the time and memory of a call."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import math
import time
from collections.abc import Callable
from pathlib import Path

PROCESS = Path("/proc/self")


def measure(call: Callable[[], object]) -> tuple[float, float]:
    """Measure the seconds of a call and its peak memory in addition to that in use before, bytes.

    Parameters
    ----------
    call : callable
        Called once.

    Returns
    -------
    seconds : float
    peak : float
        NaN on systems other than Linux. Memory that libraries cache counts only in the first call.
    """
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        # Memory that was freed but not returned to the system could be used again without being counted.
        ctypes.CDLL(None).malloc_trim(0)
    before = _bytes("VmRSS")
    try:
        # Reset the peak to the current use.
        (PROCESS / "clear_refs").write_text("5")
    except OSError:
        before = math.nan
    start = time.perf_counter()
    call()
    seconds = time.perf_counter() - start
    return seconds, max(0.0, _bytes("VmHWM") - before)


def _bytes(field: str) -> float:
    """Return a memory field of this process's status (KiB) in bytes; NaN if there is none."""
    try:
        lines = (PROCESS / "status").read_text().splitlines()
    except OSError:
        return math.nan
    return next((1024.0 * int(line.split()[1]) for line in lines if line.startswith(f"{field}:")), math.nan)
