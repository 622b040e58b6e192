"""Atomic writing of output folders, without overwriting other files."""

from __future__ import annotations

import contextlib
import errno
import filecmp
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import umask
from initpools_cli.core.locks import LocksUnsupported, locked
from initpools_cli.core.remove import remove_folder
from initpools_cli.core.reporter import Reporter
from initpools_cli.core.system_errors import disk_errors


@dataclass(frozen=True)
class Entry:
    """A file of an output folder.

    Attributes
    ----------
    make : callable
        Writes the file at a path.
    same : callable
        Whether the file at a path has the same content.
    """

    make: Callable[[Path], object]
    same: Callable[[Path], bool]


def link_to(target: Path) -> Entry:
    """Return the entry for a symbolic link; with an absolute target the folder of links can be moved."""

    def make(path: Path) -> None:
        try:
            path.symlink_to(target)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise
            raise UserError(
                f"Symbolic links can't be created in {path.parent.parent}: {error.strerror}.",
                "Export copies instead: `copies` or `class-copies`.",
                path.parent.parent,
            ) from None

    return Entry(make, lambda path: path.is_symlink() and path.readlink() == target)


def copy_of(file: Path) -> Entry:
    """Return the entry for a copy of a file."""
    return Entry(
        lambda path: shutil.copyfile(file, path),
        lambda path: _is_regular(path) and filecmp.cmp(file, path, shallow=False),
    )


def file_of(content: Callable[[], bytes]) -> Entry:
    """Return the entry for a file whose bytes are computed when it is written."""
    return Entry(
        lambda path: path.write_bytes(content()), lambda path: _is_regular(path) and path.read_bytes() == content()
    )


def _is_regular(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def refuse_used(path: Path, content: Mapping[str, Entry]) -> None:
    """Raise an error if a folder is not empty, unless it has exactly the files to be written.

    Parameters
    ----------
    content : mapping
        The entries by path in the folder, with ``/``.

    Raises
    ------
    UserError
        It has other content, or is a mount point, which can't be replaced by renaming.
    """
    if path.is_mount():
        raise UserError(f"{path} is the mount point of a volume.", "Name a folder inside it.", path)
    existing = sorted(entry.relative_to(path).as_posix() for entry in path.rglob("*")) if path.is_dir() else []
    files = [name for name in existing if name in content]
    folders = {parent.as_posix() for name in content for parent in PurePosixPath(name).parents}
    others = [
        name
        for name in existing
        if not (content[name].same(path / name) if name in content else name in folders and (path / name).is_dir())
    ]
    if others or (existing and len(files) < len(content)):
        what = f"contains {others[0]!r}" if others else f"contains {len(files)} of the {len(content)} files"
        raise UserError(
            f"{path} is not empty: it {what}, which differs from the files to be written.",
            "Name a new folder, or move the files in this one.",
            path,
        )


def write_folder(path: Path, content: Mapping[str, Entry], report: Reporter) -> None:
    """Write a folder atomically; a folder that exists with the same files (see `refuse_used`) is kept."""
    with _scratch_folder(path) as scratch:
        if path.is_dir() and any(path.iterdir()):
            report.say(f"already exists: {path}")
            return
        with report.progress(f"writing {path.name}", len(content), "files") as bar:
            for folder in {(scratch / name).parent for name in content}:
                folder.mkdir(parents=True, exist_ok=True)
            for name, entry in content.items():
                entry.make(scratch / name)
                bar.advance()
        scratch.chmod(0o777 & ~umask())
        if path.is_dir():
            path.rmdir()
        scratch.rename(path)


@contextmanager
def _scratch_folder(path: Path) -> Iterator[Path]:
    """Open an empty folder beside `path`, to be renamed to it; the one that a killed process left is removed."""
    with contextlib.ExitStack() as locks, disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".{path.name}.tmp")
        try:
            locks.enter_context(locked(path.with_name(f".{path.name}.lock"), partial(_busy_error, path)))
            if scratch.is_symlink():
                scratch.unlink()
            remove_folder(scratch)
            scratch.mkdir(mode=0o700)
        except LocksUnsupported:
            scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        try:
            yield scratch
        finally:
            remove_folder(scratch)


def _busy_error(path: Path, holder: str) -> UserError:
    return UserError(f"{path} is being written by another process{holder}.", "Wait for it, or stop it first.", path)
