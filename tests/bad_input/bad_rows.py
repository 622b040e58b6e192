"""What a row of bad input is, and the damages that rows are made of."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

Content = bytes | Callable[[Path], None]
#: A strategy on embeddings alone, which takes no time.
SELECT = "select-pool kcenter --budget 2"
ALONE = f"{SELECT} --embeddings e.npy"


@dataclass(frozen=True)
class Row:
    """Bad input, and how the command must end.

    Attributes
    ----------
    name : str
        Of the test.
    words : str or list of str
        The command line; ``{run}`` is the folder of a small run.
    files : mapping of str to bytes or callable
        The files to write first: their content, or what makes them.
    message : tuple of str
        Words of the message.
    code : int
        The exit code; 0 for input that is odd but must be accepted.
    """

    name: str
    words: str | list[str]
    files: Mapping[str, Content] = field(default_factory=dict)
    message: tuple[str, ...] = ()
    code: int = 2


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_socket(path: Path) -> None:
    # Closed, it stays a file that can't be opened.
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)


def a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def a_folder(path: Path) -> None:
    path.mkdir()


def a_circle(path: Path) -> None:
    path.symlink_to(path)


def nothing_there(path: Path) -> None:
    """Make no file."""


def a_broken_link(path: Path) -> None:
    path.symlink_to("gone")


@dataclass(frozen=True)
class Shut:
    """Makes a file or folder, of which a part may not be read."""

    make: Callable[[Path], object]
    part: str = "."

    def __call__(self, path: Path) -> None:
        """Make it."""
        self.make(path)
        (path / self.part).chmod(0)


#: What is no regular file, or one that may not be read, and what is said of it.
IRREGULAR: dict[str, tuple[Content, str]] = {
    "pipe": (a_pipe, "is a pipe, a socket or a device"),
    "socket": (a_socket, "is a pipe, a socket or a device"),
    "device": (a_device, "is a pipe, a socket or a device"),
    "folder": (a_folder, "is a folder"),
    "circle of links": (a_circle, "Too many levels"),
    "broken link": (a_broken_link, "There is no file"),
    "no file": (nothing_there, "There is no file"),
    "no permission": (Shut(lambda path: path.write_bytes(b"0")), "permission denied"),
}


def damages(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Damages of any file: each must be named, or the file is text that can still be read."""
    yield "empty", b""
    yield "one byte", content[:1]
    yield "cut in half", content[: len(content) // 2]
    yield "without its end", content[:-1] if len(content) < 200 else content[:-100]
    yield "another magic", b"\x89XYZ" + content[4:]
    yield "noise", bytes((7 * place * place + 13 * place) % 251 for place in range(3000))
    yield "text", b"this is no such file\n" * 20
    yield "NUL bytes", bytes(4096)
