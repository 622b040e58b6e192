"""One process a file of labels; the next one is found at the same address, so that an open page goes on."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import disk_errors


@dataclass
class Seat:
    """The right to write a file of labels.

    Attributes
    ----------
    port : int
        Where the page was the last time; 0 if it never was.
    token : str
        What its address held then.
    """

    stream: IO[str]
    port: int = 0
    token: str = ""

    def settle(self, port: int, token: str) -> None:
        """Remember the address; only this user can read it."""
        self.stream.seek(0)
        self.stream.truncate()
        json.dump({"process": os.getpid(), "port": port, "token": token}, self.stream)
        self.stream.flush()


def new_token() -> str:
    """What nobody can guess."""
    return secrets.token_urlsafe(24)


@contextlib.contextmanager
def seated(file: Path) -> Iterator[Seat]:
    """Keep other processes from writing to a file of labels; the lock falls with the process, however it ends.

    Raises
    ------
    UserError
        Another process is labelling, or the folder can't be written to.
    """
    import fcntl

    lock = file.with_name(f".{file.name}.lock")
    with disk_errors(lock):
        lock.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "r+", encoding="utf-8") as stream:
        known = _read(stream)
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{file} is being labelled by another process ({known.get('process', 'unknown')}).",
                "End it with Ctrl-C, or write to a file of your own: --output FILE.csv.",
            ) from None
        # Between reading and locking, another one may have come and gone.
        stream.seek(0)
        known = _read(stream)
        yield Seat(stream, known.get("port", 0), known.get("token", ""))


def _read(stream: IO[str]) -> dict[str, Any]:
    try:
        known = json.load(stream)
    except ValueError:
        return {}
    fit = isinstance(known, dict) and isinstance(known.get("port"), int) and isinstance(known.get("token"), str)
    return known if fit else {}
