"""Permissions of files that hold for root, too, as they do for every other user."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Linux's CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, by which root may read every file.
OVERRIDE = 1 << 1 | 1 << 2
_VERSION_3 = 0x20080522


@contextmanager
def respected() -> Iterator[None]:
    """Give up root's right to read every file meanwhile, in this thread and those that it starts."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    # The effective, permitted and inheritable capabilities, twice 32 of each.
    before = (ctypes.c_uint32 * 6)()
    assert libc.capget(header, before) == 0
    without = (ctypes.c_uint32 * 6)(before[0] & ~OVERRIDE, *before[1:])
    assert libc.capset(header, without) == 0
    try:
        yield
    finally:
        assert libc.capset(header, before) == 0


def hold(folder: Path) -> bool:
    """Whether a file that nobody may read can't be read; otherwise on Windows, and for root elsewhere than on Linux."""
    probe = folder / ".probe"
    probe.touch(mode=0)
    try:
        probe.open("rb").close()
    except PermissionError:
        return True
    finally:
        probe.unlink()
    return False
