"""Atomic writes, checksums and array loading."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import math
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.locks import UNSUPPORTED, open_private
from initpools_cli.core.system_errors import disk_errors, no_permission

if TYPE_CHECKING:
    import pandas as pd


def sha256_of(path: Path) -> str:
    """Return the SHA-256 (hex) of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a scratch file beside `path` that is renamed to it if the block succeeds.

    The next writer of `path` takes over the scratch file that a killed process left.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, scratch = _open_scratch(path)
        lock_handle = -1
        try:
            with os.fdopen(handle, "wb") as stream:
                # Keeps the lock after the stream is closed, which may report errors of the disk. Windows can't rename
                # an open file.
                lock_handle = -1 if os.name == "nt" else os.dup(handle)
                yield stream
            # The scratch file is private until it is complete.
            scratch.chmod(0o666 & ~umask())
            scratch.replace(path)
        except BaseException:
            scratch.unlink(missing_ok=True)
            raise
        finally:
            if lock_handle >= 0:
                os.close(lock_handle)


def _open_scratch(path: Path) -> tuple[int, Path]:
    """Open the scratch file of `path`, locked; one with a random name if another process is writing the same file."""
    scratch = path.with_name(f".{path.name}.tmp")
    handle = _open_locked(scratch)
    if handle is not None:
        return handle, scratch
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    return handle, Path(name)


def _open_locked(scratch: Path, *, empty: bool = True) -> int | None:
    """Open a file with a lock, emptied; None if another process holds it, or the system can't lock it."""
    try:
        import fcntl

        handle = open_private(scratch)
    except (ImportError, UserError, PermissionError):
        return None
    with contextlib.ExitStack() as on_failure:
        on_failure.callback(os.close, handle)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Its previous owner may have given it the final name between these calls.
            if os.path.samestat(os.fstat(handle), scratch.lstat()):
                if empty:
                    os.ftruncate(handle, 0)
                on_failure.pop_all()
                return handle
        except OSError as error:
            if error.errno not in {errno.EAGAIN, errno.EACCES, errno.ENOENT, *UNSUPPORTED}:
                raise
    return None


def is_being_written(scratch: Path) -> bool:
    """Return whether a process holds the lock of a scratch file of `atomic_file`, or the file may not be one."""
    handle = _open_locked(scratch, empty=False)
    if handle is not None:
        os.close(handle)
    return handle is None


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes atomically."""
    with atomic_file(path) as stream:
        stream.write(content)


def write_frame(path: Path, frame: pd.DataFrame) -> None:
    """Write a data frame as .csv without its index, atomically."""
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
    """Write blocks of rows sequentially as one .npy array.

    Unlike a memory map, a full disk raises an OSError here, and unlike with `numpy.save` it keeps its errno.

    Parameters
    ----------
    blocks : iterable of ndarray
        At least one, with the same dtype and the same shape apart from the first axis.
    n : int
        Total number of rows.

    Returns
    -------
    tuple of int
        The shape of the array.
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
    """Raise an error if an output file has the wrong suffix; called before anything is computed.

    Raises
    ------
    UserError
        The name does not end in one of `endings`, or is a folder.
    """
    if path is None:
        return
    choices = " or ".join([", ".join(endings[:-1]), endings[-1]] if len(endings) > 1 else endings)
    if path.suffix.lower() not in endings:
        raise UserError(
            f"'{path.name}' does not end in {choices}.", f"Give -o a name that ends in {choices}.", path.name
        )
    if path.is_dir():
        raise UserError(f"{path} is a folder.", "Give -o the name of a file.", path)


#: The largest text file that is read, bytes.
LARGEST = 512 << 20
_NPY = b"\x93NUMPY"


def require_file(path: Path, what: str, *, most: int | None = None) -> Path:
    """Check that a file named by the user is a regular file, and return its path; links are followed.

    Pipes and devices are not accepted: they may be endless and can't be read twice.

    Parameters
    ----------
    what : str
        The option that names the file, for messages, such as ``--labels``.
    most : int, optional
        The largest accepted size, bytes.

    Raises
    ------
    UserError
        The file does not exist, is not a regular file, is too large, or can't be accessed.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        raise UserError(f"There is no file {path} ({what}).", "Check the path.", path) from None
    except (OSError, ValueError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        text = repr(str(path))
        raise UserError(f"{text} ({what}) can't be read: {reason}.", "Check the path.", text) from None
    if stat.S_ISDIR(status.st_mode):
        raise UserError(f"{path} ({what}) is a folder.", "Name a file.", path)
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{path} ({what}) is a pipe, a socket or a device.", "Save its content to a file first.", path)
    if most is not None and status.st_size > most:
        raise _too_large(path, what, most)
    # Libraries of file formats report a missing permission in other words, or as a missing file.
    try:
        path.open("rb").close()
    except PermissionError:
        raise no_permission(path, what) from None
    return path


def read_file(path: Path, what: str, *, most: int = LARGEST) -> bytes:
    """Read a file named by the user; see `require_file`."""
    with require_file(path, what, most=most).open("rb") as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise _too_large(path, what, most)
    return content


def _too_large(path: Path, what: str, most: int) -> UserError:
    limit = f"{most >> 20:,} MiB" if most >= 1 << 20 else f"{most:,} bytes"
    return UserError(f"{path} ({what}) is larger than the limit of {limit}.", "Check that it is the right file.", path)


def read_array(path: Path, what: str, *, mapped: bool = False) -> np.ndarray:
    """Read a .npy file named by the user; pickled objects are never loaded.

    Parameters
    ----------
    what : str
        The option that names the file, for messages.
    mapped : bool
        Whether to memory-map the file.

    Raises
    ------
    UserError
        The file is missing, is not a .npy file, has a length other than its header states, or has Python objects.
    """
    require_file(path, what)
    try:
        shape, dtype = check_npy(path)
        if not dtype.hasobject:
            # Empty arrays can't be memory-mapped.
            return np.load(path, mmap_mode="r" if mapped and 0 not in shape else None, allow_pickle=False)
    except (ValueError, EOFError, OverflowError) as error:
        raise UserError(
            f"{path} ({what}) can't be read as a .npy array: {error!s:.200}.", "Save it again with numpy.save.", path
        ) from None
    raise UserError(
        f"{path} ({what}) contains pickled Python objects, which could run code and are never loaded.",
        "Save it again as a numeric array with numpy.save.",
        path,
    )


def check_npy(path: Path) -> tuple[tuple[int, ...], np.dtype]:
    """Check that the length of a .npy file matches its header, before memory is allocated.

    Returns
    -------
    shape : tuple of int
    dtype : dtype
        With Python objects, the length is not checked.

    Raises
    ------
    ValueError
        The file is not a .npy file, or its length does not match its header.
    """
    with path.open("rb") as stream:
        start = stream.read(len(_NPY))
        if start[:4] == b"PK\x03\x04":
            raise ValueError("it is an .npz archive, not a single .npy array")
        if start != _NPY:
            raise ValueError("it is not a .npy file")
        stream.seek(0)
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        try:
            shape, _, dtype = read_header(stream)
        except ValueError:
            raise
        # NumPy evaluates the header as Python, so a damaged one can raise almost any error.
        except Exception as error:
            raise ValueError(f"its header is damaged ({type(error).__name__})") from None
        size = os.fstat(stream.fileno()).st_size - stream.tell()
    if any(type(length) is not int or length < 0 for length in shape):
        raise ValueError(f"its header has the shape {shape}")
    if not dtype.hasobject and math.prod(shape) * dtype.itemsize != size:
        raise ValueError(f"its header states {_brief(shape)} {dtype}, but {size:,} bytes follow")
    return shape, dtype


def _brief(shape: tuple[int, ...]) -> str:
    return f"({', '.join(str(length) if length < 10**15 else f'{length:.3g}' for length in shape)})"


def umask() -> int:
    """Return the permission bits that are cleared in new files."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
