"""Files that are whole or not there: atomic writing, checksums, reading arrays without pickles."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from initpools_cli.core.errors import UserError

if TYPE_CHECKING:
    import pandas as pd


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Write to a scratch file beside `path` that takes its name only if the block ends well."""
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        scratch = Path(name)
        try:
            with os.fdopen(handle, "wb") as stream:
                yield stream
            # mkstemp makes private files.
            scratch.chmod(0o666 & ~umask())
            scratch.replace(path)
        except BaseException:
            scratch.unlink(missing_ok=True)
            raise


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_file(path) as stream:
        stream.write(text.encode())


def write_frame(path: Path, frame: pd.DataFrame) -> None:
    """Write a data frame as .csv without its row names, whole or not at all."""
    with atomic_file(path) as stream:
        frame.to_csv(stream, index=False)


def write_array(path: Path, array: np.ndarray) -> None:
    """Write a .npy file atomically."""
    write_rows(path, [array], len(array))


def write_rows(path: Path, blocks: Iterable[np.ndarray], n: int) -> tuple[int, ...]:
    """Write blocks of rows as one .npy file, atomically; see `stream_rows`."""
    with atomic_file(path) as stream:
        return stream_rows(stream, blocks, n)


def stream_rows(stream: BinaryIO, blocks: Iterable[np.ndarray], n: int) -> tuple[int, ...]:
    """Write blocks of rows as one .npy array, front to back.

    A full disk is an error with a number here; a memory map would be killed by it, and NumPy's own writer loses the
    number.

    Parameters
    ----------
    blocks : iterable of ndarray
        At least one; alike in dtype and in every axis but the first.
    n : int
        Their rows in all.

    Returns
    -------
    tuple of int
        The shape of what was written.
    """
    shape: tuple[int, ...] = ()
    for number, block in enumerate(blocks):
        if number == 0:
            shape = (n, *block.shape[1:])
            descr = np.lib.format.dtype_to_descr(block.dtype)
            np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})
        stream.write(np.ascontiguousarray(block).data)
    return shape


def require_ending(path: Path | None, *endings: str) -> None:
    """Refuse a file name before anything is computed for it.

    Raises
    ------
    UserError
        The name does not end in one of `endings`, or is a folder.
    """
    if path is None:
        return
    allowed = " or ".join([", ".join(endings[:-1]), endings[-1]] if len(endings) > 1 else endings)
    if path.suffix.lower() not in endings:
        raise UserError(
            f"'{path.name}' is not a kind of file that can be written here.", f"Give -o a name that ends in {allowed}."
        )
    if path.is_dir():
        raise UserError(f"{path} is a folder.", "Give -o the name of a file.")


def read_array(path: Path, what: str, *, mapped: bool = False) -> np.ndarray:
    """Read a user's .npy file; pickled objects are refused, never loaded.

    Raises
    ------
    UserError
        Missing, not an .npy file, truncated, or holding Python objects.
    """
    try:
        with path.open("rb") as stream:
            if stream.read(6) not in (b"\x93NUMPY", b"PK\x03\x04\x14\x00", b"PK\x03\x04\x2d\x00"):
                raise UserError(f"{path} ({what}) can't be read: it is no .npy file.", "Write it with numpy.save.")
        array = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"There is no file {path} ({what}).", "Check the path.") from None
    except IsADirectoryError:
        raise UserError(f"{path} ({what}) is a folder.", "Give a .npy file.") from None
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        if any(sign in str(error) for sign in ("pickle", "Object arrays", "Python objects")):
            raise UserError(
                f"{path} ({what}) holds pickled Python objects, which could run code and are never loaded.",
                "Save it again as a numeric array with numpy.save.",
            ) from None
        raise UserError(
            f"{path} ({what}) can't be read as a .npy array: {error}.", "Write it again with numpy.save."
        ) from None
    if not isinstance(array, np.ndarray):
        array.close()
        raise UserError(f"{path} ({what}) is an .npz archive.", "Give a single .npy array.")
    return array


@contextmanager
def disk_errors(path: Path | None = None, *, fallback: Path | None = None) -> Iterator[None]:
    """Turn a full disk or a missing permission into the error a user can mend.

    Parameters
    ----------
    path : Path, optional
        What was being written; else the error's own file is named, and `fallback` where it has none.
    """
    try:
        yield
    except OSError as error:
        known = disk_error(error, path or (None if error.filename else fallback))
        if known is None:
            raise
        raise known from None


def disk_error(error: OSError, path: Path | None = None) -> UserError | None:
    """The UserError for a full disk, a missing permission or a read-only place; None for any other error."""
    place: Any = path or error.filename or "the output folder"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return UserError(
            f"There is no space left to write {place}.", "Free some space, or choose another place with --run or -o."
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return UserError(
            f"{place} can't be used: {os.strerror(error.errno)}.",
            "Choose another place with --run or -o, or change its permissions.",
        )
    if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR) and error.filename:
        return UserError(
            f"{place} can't be made: {os.strerror(error.errno)}.", "Choose another place with --run or -o."
        )
    return None


def umask() -> int:
    """The permissions that new files do without."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
