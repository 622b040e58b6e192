"""A folder of files that is written as a whole, and never over what somebody keeps there."""

from __future__ import annotations

import errno
import filecmp
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import disk_errors, umask
from initpools_cli.core.reporter import Reporter


@dataclass(frozen=True)
class Entry:
    """A file to be: how it is made at a path, and whether the file at a path is the same."""

    make: Callable[[Path], object]
    same: Callable[[Path], bool]


def link_to(target: Path) -> Entry:
    """A symbolic link; absolute where `target` is, so that the folder of links can be moved."""

    def make(path: Path) -> None:
        try:
            path.symlink_to(target)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise
            raise UserError(
                f"Symbolic links can't be made in {path.parent.parent}: {error.strerror}.",
                "Take copies: --export copies=DIR.",
            ) from None

    return Entry(make, lambda path: path.is_symlink() and path.readlink() == target)


def copy_of(file: Path) -> Entry:
    """The same bytes as a file's."""
    return Entry(
        lambda path: shutil.copyfile(file, path), lambda path: _plain(path) and filecmp.cmp(file, path, shallow=False)
    )


def file_of(content: Callable[[], bytes]) -> Entry:
    """A file of bytes, which are made when they are needed."""
    return Entry(lambda path: path.write_bytes(content()), lambda path: _plain(path) and path.read_bytes() == content())


def _plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def refuse_used(path: Path, content: Mapping[str, Entry]) -> None:
    """Leave a folder alone that holds anything, but for one that holds just what would be written.

    Parameters
    ----------
    content : mapping
        From file name to file.

    Raises
    ------
    UserError
        It holds something else, or is a volume, which can't be put in place by renaming.
    """
    if path.is_mount():
        raise UserError(f"{path} is where a volume is mounted.", "Name a folder inside it.")
    there = sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []
    others = [name for name in there if name not in content or not content[name].same(path / name)]
    if others or 0 < len(there) < len(content):
        what = f"holds {others[0]!r}" if others else f"holds {len(there)} of the {len(content)} files"
        raise UserError(
            f"{path} is not empty: it {what}, which is not what would be written.",
            "Name a new folder, or move away what is in this one.",
        )


def write_folder(path: Path, content: Mapping[str, Entry], report: Reporter) -> None:
    """Write a folder whole or not at all; one that is there already, and was not refused, stays as it is."""
    if path.is_dir() and any(path.iterdir()):
        report.say(f"already there: {path}")
        return
    with _atomic_folder(path) as scratch, report.progress(f"writing {path.name}", len(content)) as bar:
        for name, entry in content.items():
            entry.make(scratch / name)
            bar.advance()


@contextmanager
def _atomic_folder(path: Path) -> Iterator[Path]:
    """A scratch folder beside `path`, which takes its name only if the block ends well."""
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        try:
            yield scratch
            scratch.chmod(0o777 & ~umask())
            if path.is_dir():
                path.rmdir()
            scratch.rename(path)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
