"""What a call takes: time, and memory where the system tells."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import math
import time
from collections.abc import Callable
from pathlib import Path

PROCESS = Path("/proc/self")


def taken(call: Callable[[], object]) -> tuple[float, float]:
    """Seconds that a call takes, and the bytes in memory at its peak beyond those there before.

    Parameters
    ----------
    call : callable
        Called once.

    Returns
    -------
    seconds : float
    peak : float
        NaN where the system doesn't tell, as on anything but Linux. What libraries keep for later counts only when it
        is first asked for.
    """
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        # Memory that was freed but not given back would be taken again unseen.
        ctypes.CDLL(None).malloc_trim(0)
    before = _bytes("VmRSS")
    try:
        # Sets the peak back to what there is now.
        (PROCESS / "clear_refs").write_text("5")
    except OSError:
        before = math.nan
    started = time.perf_counter()
    call()
    seconds = time.perf_counter() - started
    return seconds, max(0.0, _bytes("VmHWM") - before)


def _bytes(field: str) -> float:
    """A field of this process's status, which is in KiB there; NaN where there is none."""
    try:
        lines = (PROCESS / "status").read_text().splitlines()
    except OSError:
        return math.nan
    return next((1024.0 * int(line.split()[1]) for line in lines if line.startswith(f"{field}:")), math.nan)
