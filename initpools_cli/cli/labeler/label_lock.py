"""One process for each file of labels, and the address at which an open page finds the next one."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from initpools_cli.core.errors import UserError
from initpools_cli.core.locks import locked, read_private, write_private
from initpools_cli.core.system_errors import disk_errors


@dataclass
class LabelLock:
    """The right to write a file of labels.

    The address of the page is kept in this user's own folder and not beside the labels, where whoever hands over a
    folder could put one that they know.

    Attributes
    ----------
    place : Path
        Where the address is kept.
    port : int
        Port of the page the last time; 0 if there was none.
    token : str
        Token in its address.
    """

    place: Path
    port: int = 0
    token: str = ""

    def remember(self, port: int, token: str) -> None:
        """Store the address; only this user can read it."""
        # If it can't be stored, the next process has another address.
        with contextlib.suppress(UserError, OSError):
            write_private(self.place, {"port": port, "token": token})


def new_token() -> str:
    """A token that nobody can guess."""
    return secrets.token_urlsafe(24)


@contextlib.contextmanager
def label_lock(file: Path) -> Iterator[LabelLock]:
    """Keep other processes from writing to a file of labels; the lock ends with the process.

    Raises
    ------
    UserError
        Another process is labeling, or the folder can't be written to.
    """

    def in_use_error(holder: str) -> UserError:
        return UserError(
            f"{file} is being labeled by another process{holder}.",
            "Stop it with Ctrl-C, or write to another file with --output FILE.csv.",
            str(file),
        )

    lock = file.with_name(f".{file.name}.lock")
    with contextlib.ExitStack() as stack:
        with disk_errors(lock):
            stack.enter_context(locked(lock, in_use_error))
        yield _last_address(file)


def _last_address(file: Path) -> LabelLock:
    from initpools_cli.datasets.cache import data_home

    place = data_home() / "labeling" / f"{hashlib.sha256(os.fsencode(file.resolve())).hexdigest()[:32]}.json"
    address = read_private(place)
    port, token = address.get("port"), address.get("token")
    if isinstance(port, int) and 0 < port < 2**16 and isinstance(token, str) and len(token) == len(new_token()):
        return LabelLock(place, port, token)
    return LabelLock(place)
