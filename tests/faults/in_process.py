"""File calls of a command in this process: at the k-th one, it fails, or nothing reaches the disk any more.

What the library of `preload.c` does for forked processes, without a compiler: for the few tries of every test run.
"""

from __future__ import annotations

import builtins
import contextlib
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .fork import CHANGES, CREATE, KILL, MODE, NAME, OPEN, READ, REMOVE, RENAME, SYNC, TORN, WRITE, CallFault


class Killed(BaseException):
    """The process would have been killed here."""


class Injector:
    """Counts the file calls below a folder, and disturbs one of them.

    Attributes
    ----------
    calls : int
        Number of counted calls.
    hit : str
        The call that was disturbed; empty where there was none.
    """

    def __init__(self, root: Path, fault: CallFault, at: int) -> None:
        self.root, self.fault, self.at = f"{root.resolve()}/", fault, at
        self.calls, self.hit = 0, ""
        # Paths by number, of the files and folders that `os.open` opened.
        self.opened: dict[int, str] = {}

    @property
    def dead(self) -> bool:
        """Whether nothing is written any more."""
        return bool(self.hit) and self.fault.action in (KILL, TORN)

    def is_below(self, name: object) -> bool:
        """Whether a path, or the file of a number, is below the folder."""
        if isinstance(name, int):
            return self.opened.get(name, "").startswith(self.root)
        path = os.fsdecode(name) if isinstance(name, bytes | str | os.PathLike) else ""
        return os.path.join(os.getcwd(), path).startswith(self.root)  # noqa: PTH109, PTH118 -- names need not exist

    def call(self, kind: int, name: object, what: str) -> bool:
        """Count a call, and raise what happens at it; returns whether half of it is to be written."""
        if not self.is_below(name):
            return False
        if self.dead:
            if kind & CHANGES:
                raise Killed
            return False
        if self.hit:
            if kind & self.fault.lasting:
                raise OSError(self.fault.error, os.strerror(self.fault.error), str(name))
            return False
        self.calls += bool(kind & self.fault.counted)
        if not kind & self.fault.counted or self.calls != self.at:
            return False
        self.hit = f"{what} {name}"
        if self.fault.action == TORN:
            return True
        if self.fault.action == KILL:
            raise Killed
        raise OSError(self.fault.error, os.strerror(self.fault.error), str(name))


class _File(io.FileIO):
    """A file whose writes are counted."""

    injector: Injector

    def write(self, data: Any, /) -> int:
        if self.injector.dead:
            return len(data)
        if self.injector.call(WRITE, self.fileno(), "write"):
            super().write(bytes(data)[: len(data) // 2])
            raise Killed
        return super().write(data) or 0


def _kind_of(mode: str) -> int:
    return OPEN | (CREATE if set(mode) & set("wxa") else READ if "+" not in mode else 0)


@contextlib.contextmanager
def disturbed(root: Path, fault: CallFault, at: int) -> Iterator[Injector]:
    """Disturb file call number `at` below a folder meanwhile; with 0, calls are only counted."""
    injector = Injector(root, fault, at)

    def opened(file: Any, mode: str = "r", buffering: int = -1, *others: Any, **options: Any) -> Any:
        if not set(mode) & set("wxa+") or not injector.is_below(file):
            if not isinstance(file, int):
                injector.call(_kind_of(mode), file, "open")
            return real_open(file, mode, buffering, *others, **options)
        if not isinstance(file, int):
            injector.call(_kind_of(mode), file, "open")
        raw = _File(file, mode.replace("b", "").replace("t", ""), closefd=options.get("closefd", True))
        raw.injector = injector
        stream: Any = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        if "b" in mode:
            return stream
        names = ("encoding", "errors", "newline")
        text = dict(zip(names, others, strict=False)) | {name: options[name] for name in names if name in options}
        return io.TextIOWrapper(stream, **text)

    def on_path(name: str, kind: int, place: int = 0) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(*arguments: Any, **options: Any) -> Any:
            folder = options.get("dir_fd")
            where = arguments[place]
            if folder is not None:
                where = f"{injector.opened.get(folder, '')}/{os.fsdecode(where)}"
            injector.call(kind, where, name)
            return real(*arguments, **options)

        return call

    def os_open(path: Any, flags: int, *others: Any, **options: Any) -> int:
        if options.get("dir_fd") is None:
            injector.call(OPEN | (CREATE if flags & (os.O_CREAT | os.O_TRUNC) else READ), path, "open")
        number = real_os_open(path, flags, *others, **options)
        above = os.getcwd() if options.get("dir_fd") is None else injector.opened.get(options["dir_fd"], "")  # noqa: PTH109
        injector.opened[number] = f"{above}/{os.fsdecode(path)}" if not os.fsdecode(path).startswith("/") else str(path)
        return number

    def os_close(number: int) -> None:
        injector.opened.pop(number, None)
        real_close(number)

    def os_write(number: int, content: Any) -> int:
        if injector.call(WRITE, number, "write"):
            real_write(number, bytes(content)[: len(content) // 2])
            raise Killed
        return real_write(number, content)

    real_open, real_os_open, real_write, real_close = io.open, os.open, os.write, os.close
    changed: dict[tuple[Any, str], Any] = {
        (io, "open"): opened,
        (builtins, "open"): opened,
        (os, "open"): os_open,
        (os, "write"): os_write,
        (os, "close"): os_close,
    }
    kinds = {"unlink": REMOVE, "remove": REMOVE, "rmdir": REMOVE, "mkdir": CREATE, "chmod": MODE, "fchmod": MODE}
    for name, kind in {**kinds, "fsync": SYNC, "ftruncate": MODE}.items():
        changed[os, name] = on_path(name, kind)
    for name, kind in {"rename": RENAME, "replace": RENAME, "symlink": NAME, "link": NAME}.items():
        changed[os, name] = on_path(name, kind, 1)
    before = {(module, name): getattr(module, name) for module, name in changed}
    for (module, name), value in changed.items():
        setattr(module, name, value)
    try:
        yield injector
    finally:
        for (module, name), value in before.items():
            setattr(module, name, value)
