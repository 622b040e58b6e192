"""Files that are whole or not there: atomic writing, checksums, reading arrays without pickles."""

from __future__ import annotations

import errno
import hashlib
import math
import os
import stat
import tempfile
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
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes atomically."""
    with atomic_file(path) as stream:
        stream.write(content)


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


#: The largest table, export or list that is read, bytes.
LARGEST = 512 << 20
_NPY = b"\x93NUMPY"


def require_file(path: Path, what: str, *, most: int | None = None) -> Path:
    """A file that the user named: a regular one, where links are followed.

    Pipes and devices are refused, since they may have no end and can't be read twice.

    Parameters
    ----------
    what : str
        What the user gave it as, for messages, such as ``--labels``.
    most : int, optional
        The largest size that is read, bytes.

    Raises
    ------
    UserError
        No file, no regular one, one that is too large, or one that can't be looked at.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        raise UserError(f"There is no file {path} ({what}).", "Check the path.") from None
    except (OSError, ValueError) as error:
        why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise UserError(f"{str(path)!r} ({what}) can't be read: {why}.", "Check the path.") from None
    if stat.S_ISDIR(status.st_mode):
        raise UserError(f"{path} ({what}) is a folder.", "Name a file.")
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{path} ({what}) is a pipe, a socket or a device.", "Write its content to a file first.")
    if most is not None and status.st_size > most:
        raise _too_large(path, what, most)
    return path


def read_file(path: Path, what: str, *, most: int = LARGEST) -> bytes:
    """The content of a file that the user named; see `require_file`."""
    with require_file(path, what, most=most).open("rb") as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise _too_large(path, what, most)
    return content


def _too_large(path: Path, what: str, most: int) -> UserError:
    shown = f"{most >> 20:,} MiB" if most >= 1 << 20 else f"{most:,} bytes"
    return UserError(
        f"{path} ({what}) has more than {shown}, the most that is read.", "Check that it is the right file."
    )


def read_array(path: Path, what: str, *, mapped: bool = False) -> np.ndarray:
    """Read a user's .npy file; pickled objects are refused, never loaded.

    Raises
    ------
    UserError
        Missing, not an .npy file, of another length than its header says, or holding Python objects.
    """
    require_file(path, what)
    try:
        shape, dtype = check_npy(path)
        if not dtype.hasobject:
            # What is empty can't be mapped.
            return np.load(path, mmap_mode="r" if mapped and 0 not in shape else None, allow_pickle=False)
    except (ValueError, EOFError, OverflowError) as error:
        raise UserError(
            f"{path} ({what}) can't be read as a .npy array: {error!s:.200}.", "Write it again with numpy.save."
        ) from None
    raise UserError(
        f"{path} ({what}) holds pickled Python objects, which could run code and are never loaded.",
        "Save it again as a numeric array with numpy.save.",
    )


def check_npy(path: Path) -> tuple[tuple[int, ...], np.dtype]:
    """Check that a .npy file is as long as its header says, before anything is allocated by it.

    Returns
    -------
    shape : tuple of int
    dtype : dtype
        For Python objects the length is not checked.

    Raises
    ------
    ValueError
        No .npy file, or not as long as its header says.
    """
    with path.open("rb") as stream:
        start = stream.read(len(_NPY))
        if start[:4] == b"PK\x03\x04":
            raise ValueError("it is an .npz archive, and a single .npy array is needed")
        if start != _NPY:
            raise ValueError("it is no .npy file")
        stream.seek(0)
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        try:
            shape, _, dtype = read(stream)
        except ValueError:
            raise
        # NumPy evaluates the header as Python, and what is damaged ends in almost any error.
        except Exception as error:
            raise ValueError(f"its header is damaged ({type(error).__name__})") from None
        size = os.fstat(stream.fileno()).st_size - stream.tell()
    if any(type(length) is not int or length < 0 for length in shape):
        raise ValueError(f"its header says the shape {shape}")
    if not dtype.hasobject and math.prod(shape) * dtype.itemsize != size:
        raise ValueError(f"its header says {_brief(shape)} {dtype}, and {size:,} bytes follow")
    return shape, dtype


def _brief(shape: tuple[int, ...]) -> str:
    return f"({', '.join(str(length) if length < 10**15 else f'{length:.3g}' for length in shape)})"


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


#: What to do about what the system reports, where it is not space or permission.
_REMEDIES = {
    errno.EMFILE: "Raise the limit on open files, for example with `ulimit -n 4096`, and run the same command again.",
    errno.ENFILE: "Close other programs, and run the same command again.",
    errno.EIO: "Check the disk or the connection to it, and run the same command again.",
    errno.ESTALE: "Check the connection to that disk, and run the same command again.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.ELOOP: "Mend the links, which lead in a circle.",
}


def system_error(error: BaseException) -> UserError | None:
    """What the system could not do, as an error that a user can mend; None where the error is of another kind."""
    if isinstance(error, MemoryError) or "allocate memory" in str(error) or "out of memory" in str(error):
        return UserError(
            f"There is not enough memory: {str(error).splitlines()[0] if str(error) else 'none is left'}.",
            "Close other programs, take fewer images (--set select.sample=N) or a smaller setting, and run it again.",
        )
    if isinstance(error, UnicodeEncodeError):
        return UserError(
            f"{error.object[error.start : error.end]!a} can't be written as {error.encoding}.",
            "Rename what holds it; for standard output, PYTHONIOENCODING=utf-8 helps as well.",
        )
    if not isinstance(error, OSError) or not error.errno:
        return None
    known = disk_error(error)
    if known is not None:
        return known
    place = "A file" if error.filename is None else f"{str(error.filename)!r:.200}"
    remedy = _REMEDIES.get(error.errno, "Check that place, and run the same command again.")
    if error.errno == errno.ENOENT and not _working_folder():
        return UserError(
            "The current folder has been removed.", "Change to another one and run the same command again."
        )
    return UserError(f"{place} can't be used: {os.strerror(error.errno)}.", remedy)


def _working_folder() -> bool:
    try:
        return bool(os.getcwd())  # noqa: PTH109 -- what is asked for is whether there is one
    except OSError:
        return False


def umask() -> int:
    """The permissions that new files do without."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
