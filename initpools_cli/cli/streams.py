"""Standard streams that are closed, full, or of an encoding that can't hold every name."""

from __future__ import annotations

import io
import os
import sys
from typing import Any, TextIO

from initpools_cli.core.errors import UserError


class _Output(io.FileIO):
    """Standard output: what can't be written is an error of the user's, but for a reader that has seen enough."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data) or 0
        except BrokenPipeError:
            # Whoever read our output has seen enough, as `head` has. Click and Rich would make a failure of it.
            close_output()
            raise SystemExit(0) from None
        except OSError as error:
            raise UserError(
                f"Standard output can't be written: {os.strerror(error.errno or 0)}.",
                "Send it to another place; what was made in a run is kept.",
            ) from None


class _Messages(io.FileIO):
    """Standard error: what can't be written is dropped, and the exit code still says how it ended."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data) or 0
        except OSError:
            return len(data)


def open_streams() -> None:
    """Give this process standard streams whose failures are handled; those that were closed take no text.

    A closed one would otherwise lend its number to the next file that is opened, and be written into it.
    """
    for number, flags in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is taken, and those below are open. Output that is read-only says so when written.
            os.open(os.devnull, flags)
            os.set_inheritable(number, True)
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 -- a number, not a path
    # Bytes of file names that are not UTF-8 leave as they came.
    sys.stdout = _text(_Output(1, "w", closefd=False), sys.stdout, "surrogateescape")
    sys.stderr = _text(_Messages(2, "w", closefd=False), sys.stderr, "backslashreplace")


def _text(raw: io.FileIO, before: TextIO | None, errors: str) -> TextIO:
    encoding = before.encoding if before is not None else "utf-8"
    buffering = raw.isatty() or errors == "backslashreplace"
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors, line_buffering=buffering)


def close_output() -> None:
    """Give up on standard output, so that what is left in its buffer fails no more at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
