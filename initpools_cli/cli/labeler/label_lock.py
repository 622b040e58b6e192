"""One process a file of labels; the next one is found at the same address, so that an open page goes on."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from initpools_cli.core.errors import UserError
from initpools_cli.core.locks import locked, open_own

#: The longest lock or address that is read, bytes.
LONGEST = 1 << 12


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
        Where the page was the last time; 0 if it never was.
    token : str
        What its address held then.
    """

    place: Path
    port: int = 0
    token: str = ""

    def settle(self, port: int, token: str) -> None:
        """Remember the address; only this user can read it."""
        # Where it can't be kept, the next process has another address.
        with contextlib.suppress(UserError, OSError), _opened(self.place) as descriptor:
            _write(descriptor, {"port": port, "token": token})


def new_token() -> str:
    """What nobody can guess."""
    return secrets.token_urlsafe(24)


@contextlib.contextmanager
def seated(file: Path) -> Iterator[LabelLock]:
    """Keep other processes from writing to a file of labels; the lock falls with the process, however it ends.

    Raises
    ------
    UserError
        Another process is labeling, or the folder can't be written to.
    """
    lock = file.with_name(f".{file.name}.lock")
    taken = UserError(
        f"{file} is being labeled by another process{_holder(lock)}.",
        "End it with Ctrl-C, or write to a file of your own: --output FILE.csv.",
    )
    with locked(lock, taken) as descriptor:
        _write(descriptor, {"process": os.getpid()})
        yield _seat(file)


def _seat(file: Path) -> LabelLock:
    from initpools_cli.datasets.open import data_home

    place = data_home() / "labeling" / f"{hashlib.sha256(os.fsencode(file.resolve())).hexdigest()[:32]}.json"
    known: dict[str, Any] = {}
    with contextlib.suppress(UserError, OSError), _opened(place) as descriptor:
        known = _read(descriptor)
    port, token = known.get("port"), known.get("token")
    if isinstance(port, int) and 0 < port < 2**16 and isinstance(token, str) and len(token) == len(new_token()):
        return LabelLock(place, port, token)
    return LabelLock(place)


def _holder(lock: Path) -> str:
    """The process that a lock names, for a message."""
    with contextlib.suppress(OSError, UserError):
        if lock.exists():
            with _opened(lock) as descriptor:
                process = _read(descriptor).get("process")
                return f" ({process})" if type(process) is int else ""
    return ""


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = open_own(path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> dict[str, Any]:
    try:
        known = json.loads(os.pread(descriptor, LONGEST, 0))
    except (ValueError, RecursionError):
        return {}
    return known if isinstance(known, dict) else {}


def _write(descriptor: int, content: dict[str, Any]) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(content).encode(), 0)
