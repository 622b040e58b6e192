"""Errors of the operating system as errors that a user can correct."""

from __future__ import annotations

import errno
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from initpools_cli.core.errors import UserError


@contextmanager
def disk_errors(path: Path | None = None, *, fallback: Path | None = None) -> Iterator[None]:
    """Convert a full disk or a missing permission to a UserError.

    Parameters
    ----------
    path : Path, optional
        The file being written, for the message; default: the file of the error.
    fallback : Path, optional
        Named if the error has no file.
    """
    try:
        yield
    except OSError as error:
        user_error = disk_error(error, path or (None if error.filename else fallback))
        if user_error is None:
            raise
        raise user_error from None


def disk_error(error: OSError, path: Path | None = None) -> UserError | None:
    """Return the UserError for a full disk, a missing permission or a read-only location; None for other errors."""
    name: Any = path or error.filename or "the output folder"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return UserError(
            f"There is no space left to write {name}.",
            "Free some space, or choose another folder with --run or -o.",
            name,
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return UserError(
            f"{name} can't be used: {os.strerror(error.errno)}.",
            "Choose another folder with --run or -o, or change the permissions.",
            name,
        )
    if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR) and error.filename:
        return UserError(
            f"{name} can't be created: {os.strerror(error.errno)}.", "Choose another folder with --run or -o.", name
        )
    return None


def no_permission(path: Path, what: str = "") -> UserError:
    """Return the error for a file or folder of the user that may not be read."""
    option = f" ({what})" if what else ""
    mode = "+rx" if path.is_dir() else "+r"
    return UserError(
        f"{path}{option} can't be read: permission denied.",
        f"Change its permissions, for example with `chmod {mode} {shlex.quote(str(path))}`.",
        path,
    )


@contextmanager
def place_errors(folder: Path, variable: str = "INITPOOLS_DATA") -> Iterator[None]:
    """Convert a full or read-only disk to a UserError that names the environment variable of a folder."""
    try:
        yield
    except OSError as error:
        user_error = disk_error(error, folder)
        if user_error is None:
            raise
        raise UserError(
            user_error.fact,
            f"Free some space or change its permissions, or name another folder with {variable}=DIR.",
            folder,
        ) from None


#: Remedies by error number, for errors other than space and permission.
_REMEDIES = {
    errno.EMFILE: "Raise the limit on open files, for example with `ulimit -n 4096`, and run the same command again.",
    errno.ENFILE: "Close other programs, and run the same command again.",
    errno.EIO: "Check the disk or the connection to it, and run the same command again.",
    errno.ESTALE: "Check the connection to the disk, and run the same command again.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.ELOOP: "Correct the symbolic links: they form a loop.",
}


def system_error(error: BaseException) -> UserError | None:
    """Return the UserError for an error of the operating system; None for other errors."""
    if isinstance(error, MemoryError) or "allocate memory" in str(error) or "out of memory" in str(error):
        reason = str(error).splitlines()[0] if str(error) else "none is left"
        return UserError(
            f"There is not enough memory: {reason}.",
            "Close other programs, use fewer images (--set select.sample=N) or a smaller setting, and run the command "
            "again.",
            reason,
        )
    if isinstance(error, UnicodeEncodeError):
        text = ascii(error.object[error.start : error.end])
        return UserError(
            f"{text} can't be written as {error.encoding}.",
            "Rename the file or class that contains it; for standard output, set PYTHONIOENCODING=utf-8.",
            text,
        )
    if not isinstance(error, OSError) or not error.errno:
        return None
    user_error = disk_error(error)
    if user_error is not None:
        return user_error
    name = "A file" if error.filename is None else f"{str(error.filename)!r:.200}"
    remedy = _REMEDIES.get(error.errno, "Check the path, and run the same command again.")
    if error.errno == errno.ENOENT and not _current_folder_exists():
        return UserError(
            "The current folder has been removed.", "Change to another one and run the same command again.", "folder"
        )
    return UserError(f"{name} can't be used: {os.strerror(error.errno)}.", remedy, name)


def _current_folder_exists() -> bool:
    try:
        return bool(os.getcwd())  # noqa: PTH109 -- Path.cwd() is the same
    except OSError:
        return False
