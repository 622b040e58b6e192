"""Locks between processes: files that belong to this user alone, and that fall with the process that holds them."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import disk_errors


def open_own(path: Path, mode: int = 0o600) -> int:
    """Open a file of our own for reading and writing, made if need be and never truncated.

    Parameters
    ----------
    path : Path
        Its folder is made, too.
    mode : int
        Permissions of a new file. A file that is there loses those beyond it.

    Returns
    -------
    int
        A descriptor that child processes do not inherit.

    Raises
    ------
    UserError
        A link, another user's file, or no regular file is in its place; or it can't be made there.
    """
    # Without O_NONBLOCK a pipe put in its place would be waited for.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, flags, mode)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EMLINK, errno.ENXIO, errno.EISDIR):
                raise _not_own(path, "is a link, a folder or a device") from None
            raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _not_own(path, "is not a regular file")
        if status.st_uid != os.geteuid():
            raise _not_own(path, "belongs to another user")
        if status.st_nlink > 1:
            raise _not_own(path, "has a second name (a hard link)")
        if stat.S_IMODE(status.st_mode) & ~mode:
            os.fchmod(descriptor, stat.S_IMODE(status.st_mode) & mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _not_own(path: Path, why: str) -> UserError:
    return UserError(
        f"{path} {why}, and initpools makes that file itself.", "Move it away and run the same command again."
    )


@contextlib.contextmanager
def locked(path: Path, taken: UserError, mode: int = 0o600) -> Iterator[int]:
    """Hold the lock of a file of our own; see `open_own`.

    Parameters
    ----------
    taken : UserError
        Raised where another process holds it.

    Yields
    ------
    int
        The file's descriptor. The holder may remove or rename the file.
    """
    while True:
        descriptor = open_own(path, mode)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise taken from None
            # The holder before may have removed the file: then the lock is of a file that no other process finds.
            if _is_at(descriptor, path):
                yield descriptor
                return
        finally:
            os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def locked_folder(folder: Path, how: int) -> Iterator[bool]:
    """Hold a lock on a folder; False where another process holds it, or the file system has no locks."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, how)
            alone = True
        except OSError:
            alone = False
        yield alone
    finally:
        os.close(descriptor)
