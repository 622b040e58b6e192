"""Standard streams that handle closed files, full disks and names that the encoding lacks."""

from __future__ import annotations

import io
import os
import sys
from typing import Any, TextIO

from initpools_cli.core.errors import UserError


class _Output(io.FileIO):
    """Standard output; raises UserError if it can't be written, and ends the program if the reader closed it."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data) or 0
        except BrokenPipeError:
            # The reader closed the pipe, as `head` does. Click and Rich would report an error.
            close_output()
            raise SystemExit(0) from None
        except OSError as error:
            raise UserError(
                f"Standard output can't be written: {os.strerror(error.errno or 0)}.",
                "Redirect it to another file; results in a run are kept.",
                os.strerror(error.errno or 0),
            ) from None


class _Messages(io.FileIO):
    """Standard error; text that can't be written is dropped."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data) or 0
        except OSError:
            return len(data)


def open_streams() -> None:
    """Replace the standard streams by ones that handle errors, and open those that were closed.

    Otherwise the next file that is opened would get the number of a closed stream, and its text.
    """
    for number, flags in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            # The system takes the lowest free number, which is this one. Writing to it later raises an error.
            os.open(os.devnull, flags)
            os.set_inheritable(number, True)
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 -- a number, not a path
    # Bytes of file names that are not UTF-8 are written unchanged.
    sys.stdout = _text(_Output(1, "w", closefd=False), sys.stdout, "surrogateescape")
    sys.stderr = _text(_Messages(2, "w", closefd=False), sys.stderr, "backslashreplace")


def _text(raw: io.FileIO, before: TextIO | None, errors: str) -> TextIO:
    encoding = before.encoding if before is not None else "utf-8"
    buffering = raw.isatty() or errors == "backslashreplace"
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors, line_buffering=buffering)


def close_output() -> None:
    """Send standard output to nowhere, so that flushing its buffer at the end can't fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
