"""Locks between processes: one file beside what is locked, free again when its holder ends, however that happens."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from initpools_cli.core.errors import UserError
from initpools_cli.core.remove import remove_file

#: Seconds before a lock counts as taken: a holder that has just removed the file costs a second attempt.
PATIENCE = 0.1
#: The longest private file that is read, bytes.
LONGEST = 1 << 12
#: What file systems without locks answer, some network file systems among them.
UNSUPPORTED = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}


class LocksUnsupported(UserError):
    """The file system has no locks."""


@contextlib.contextmanager
def locked(path: Path, busy_error: Callable[[str], UserError]) -> Iterator[None]:
    """Hold a lock file, which is removed at the end.

    The lock itself is filelock's: the operating system's own, so that it is released even if the holder is killed.

    Parameters
    ----------
    path : Path
        The lock file; its folder is created if it does not exist.
    busy_error : callable
        Makes the error if another process holds the lock. Its argument names that process, as ``" (4711 on node7)"``,
        or is empty if it is not known.

    Raises
    ------
    UserError
        Another process holds it, or the file at its path belongs to another user or is not a regular file.
    LocksUnsupported
        The file system has no locks.
    OSError
        The file can't be created.
    """
    from filelock import FileLock, Timeout

    # A soft lock would outlive a killed holder.
    lock = FileLock(path, timeout=PATIENCE, poll_interval=0.01, mode=0o600, fallback_to_soft=False, on_acquired=_sign)
    path.parent.mkdir(parents=True, exist_ok=True)
    # filelock refuses links as well, but says less about why.
    with contextlib.suppress(FileNotFoundError):
        _refuse_foreign(path, path.lstat())
    try:
        lock.acquire()
    except Timeout:
        raise busy_error(_holder(path)) from None
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        raise LocksUnsupported(
            f"The file system of {path.parent} does not support locks.",
            "Choose a folder on another disk with --run, --output or INITPOOLS_DATA.",
            str(path.parent),
        ) from None
    try:
        yield
    finally:
        # A process that waits for the lock notices that the file is gone. Windows deletes it at the release.
        remove_file(path)
        lock.release()


def _sign(descriptor: int) -> None:
    """Write who holds the lock, for the message to others."""
    _make_private(descriptor)
    _write(descriptor, {"process": os.getpid(), "host": socket.gethostname()})


def _holder(path: Path) -> str:
    """Format the process that a lock file names, for a message."""
    content = read_private(path)
    process, host = content.get("process"), content.get("host")
    if type(process) is not int:
        return ""
    return f" ({process} on {host})" if isinstance(host, str) and host.isprintable() else f" ({process})"


def open_private(path: Path, mode: int = 0o600) -> int:
    """Open a file that only this user has made for reading and writing; a missing one is created.

    Parameters
    ----------
    path : Path
        Its folder is made, too.
    mode : int
        Permissions of a new file. An existing file loses those beyond it.

    Returns
    -------
    int
        A descriptor that child processes do not inherit.

    Raises
    ------
    UserError
        A link, another user's file, or no regular file is in its place.
    OSError
        The file can't be created.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    return _open_descriptor(path, os.O_RDWR | os.O_CREAT, mode)


def read_private(path: Path) -> dict[str, Any]:
    """The content of a private JSON file; empty where there is none, or another user's."""
    with contextlib.suppress(UserError, OSError, ValueError, RecursionError):
        descriptor = _open_descriptor(path, os.O_RDONLY, 0o600)
        try:
            content = json.loads(os.read(descriptor, LONGEST))
        finally:
            os.close(descriptor)
        return content if isinstance(content, dict) else {}
    return {}


def write_private(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file that only this user can read.

    Raises
    ------
    UserError, OSError
        See `open_private`; or the disk is full.
    """
    descriptor = open_private(path)
    try:
        _write(descriptor, content)
    finally:
        os.close(descriptor)


def _open_descriptor(path: Path, flags: int, mode: int) -> int:
    # Without O_NONBLOCK, opening a pipe in its place would block. Windows has neither of the first two flags.
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags, mode)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK, errno.ENXIO, errno.EISDIR):
            raise _foreign(path, "is a link, a folder or a device") from None
        raise
    try:
        _refuse_foreign(path, os.fstat(descriptor))
        _make_private(descriptor, mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _refuse_foreign(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _foreign(path, "is a link, a folder or a device")
    # Windows has no such number.
    if hasattr(os, "geteuid") and status.st_uid != os.geteuid():
        raise _foreign(path, "belongs to another user")
    if status.st_nlink > 1:
        raise _foreign(path, "has a second name (a hard link)")


def _foreign(path: Path, why: str) -> UserError:
    return UserError(
        f"{path} {why}, but initpools creates that file itself.",
        "Move it away and run the same command again.",
        str(path),
    )


def _make_private(descriptor: int, mode: int = 0o600) -> None:
    """Clear all permissions that are not in `mode`."""
    permissions = stat.S_IMODE(os.fstat(descriptor).st_mode)
    if hasattr(os, "fchmod") and permissions & ~mode:
        os.fchmod(descriptor, permissions & mode)


def _write(descriptor: int, content: dict[str, Any]) -> None:
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, json.dumps(content).encode())
