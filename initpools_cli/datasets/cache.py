"""Folder of downloads and caches, and the cache of resized pixels: a uint8 array per split."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from initpools_cli.core.checksums import checksum
from initpools_cli.core.errors import UserError
from initpools_cli.core.files import stream_rows, write_text
from initpools_cli.core.locks import LocksUnsupported, locked
from initpools_cli.core.remove import remove_folder
from initpools_cli.core.reporter import Reporter
from initpools_cli.core.system_errors import place_errors
from initpools_cli.datasets.spec import CONVERSION

if TYPE_CHECKING:
    import pandas as pd

#: Bytes of pixels processed at a time.
BLOCK_BYTES = 32 << 20
#: Prefix of scratch folders.
SCRATCH = ".scratch-"
#: File that marks arrays made, or verified, by this version.
CURRENT = "current"
#: File of the arrays' checksums.
SUMS = "checksums.json"
#: Version of the conversion to pixels; part of every cache key.
RECIPE = "1"


def data_home() -> Path:
    """The folder of downloads and caches: ``$INITPOOLS_DATA``, by default this user's cache folder.

    Before platformdirs named it, it was ``~/.cache/initpools`` on every system: that folder stays in use where it is
    the only one.

    Raises
    ------
    UserError
        This user has no home folder.
    """
    from platformdirs import user_cache_path

    setting = os.environ.get("INITPOOLS_DATA")
    try:
        if setting:
            return Path(setting).expanduser()
        earlier = Path.home() / ".cache" / "initpools"
    except RuntimeError:
        raise UserError(
            f"INITPOOLS_DATA={setting} names a home folder that does not exist."
            if setting
            else "INITPOOLS_DATA is not set, and this user has no home folder for downloads and caches.",
            "Name a folder: INITPOOLS_DATA=DIR initpools …",
            "INITPOOLS_DATA",
        ) from None
    usual = user_cache_path("initpools", appauthor=False)
    return earlier if earlier.is_dir() and not usual.exists() else usual


def cache_folder(cache: Path, items: pd.DataFrame, size: int) -> Path:
    """Return the folder for the arrays of these images at this size."""
    digest = hashlib.sha256(f"{RECIPE} {size}".encode())
    conversions = items[CONVERSION] if CONVERSION in items else itertools.repeat("", len(items))
    for split, sha256, conversion in zip(items["split"], items["sha256"], conversions, strict=True):
        digest.update(f"\n{split} {sha256}{conversion and ' '}{conversion}".encode())
    return cache / "arrays" / digest.hexdigest()[:32]


def read_cache(folder: Path, counts: Mapping[str, int]) -> dict[str, np.ndarray] | None:
    """Return the memory-mapped arrays, or None if they are missing or incomplete.

    Arrays with a wrong checksum are moved aside with a warning; each is hashed once per process.

    Raises
    ------
    UserError
        They are damaged and can't be moved.
    """
    if not folder.is_dir():
        return None
    wrong = _damaged_file(folder, counts)
    if wrong:
        set_aside(folder, wrong)
        return None
    try:
        arrays = {split: np.load(folder / f"{split}.npy", mmap_mode="r", allow_pickle=False) for split in counts}
    except (OSError, ValueError, EOFError):
        return None
    whole = all(len(array) == counts[split] and array.ndim == 4 for split, array in arrays.items())
    return arrays if whole else None


def write_cache(
    folder: Path, blocks: Mapping[str, Iterator[np.ndarray]], counts: Mapping[str, int]
) -> dict[str, np.ndarray]:
    """Write one array per split and return them memory-mapped.

    Parameters
    ----------
    folder : Path
        From `cache_folder`.
    blocks : mapping of split to iterator of ndarray of shape (b, h, w, c), uint8
        The images in order.
    counts : mapping of split to int
        Number of images in all blocks.

    Raises
    ------
    UserError
        There is no space or no permission.
    """
    with scratch_folder(folder.parent.parent) as scratch, place_errors(folder.parent.parent):
        for split, images in blocks.items():
            with (scratch / f"{split}.npy").open("wb") as stream:
                stream_rows(stream, images, counts[split])
        (scratch / CURRENT).touch()
        _write_checksums(scratch, counts)
        folder.parent.mkdir(parents=True, exist_ok=True)
        if read_cache(folder, counts) is None:
            remove_folder(folder)
            # Another process may have written the same arrays in the meantime.
            with contextlib.suppress(FileExistsError):
                scratch.rename(folder)
    arrays = read_cache(folder, counts)
    if arrays is None:
        raise UserError(
            f"The arrays written to {folder} can't be read back.",
            "Check the disk, or name another folder with INITPOOLS_DATA=DIR.",
            folder,
        )
    return arrays


def _damaged_file(folder: Path, splits: Iterable[str]) -> str:
    """Return the first file with a wrong checksum; empty if there is none, or if an array is missing."""
    files = {split: folder / f"{split}.npy" for split in splits}
    if not all(file.is_file() for file in files.values()):
        return ""
    if not (folder / SUMS).exists():
        # Older versions wrote no checksums: record those of the present arrays.
        with contextlib.suppress(OSError, UserError):
            _write_checksums(folder, splits)
        return ""
    try:
        checksums = json.loads((folder / SUMS).read_text(encoding="utf-8"))
    except ValueError:
        return SUMS
    if not isinstance(checksums, dict):
        return SUMS
    return next((file.name for split, file in files.items() if checksum(file) != checksums.get(split)), "")


def _write_checksums(folder: Path, splits: Iterable[str]) -> None:
    """Write the checksums of the arrays to the cache folder."""
    write_text(folder / SUMS, json.dumps({split: checksum(folder / f"{split}.npy") for split in splits}))


def set_aside(folder: Path, wrong: str, what: str = "pixels") -> None:
    """Rename a cache folder with a damaged file, with a warning."""
    number = itertools.count(2)
    target = folder.with_name(f"{folder.name}.damaged")
    while target.exists():
        target = folder.with_name(f"{folder.name}.damaged-{next(number)}")
    Reporter().warn(f"Moved damaged cached {what} to {target}: {folder / wrong} was changed after it was written.")
    with place_errors(folder.parent.parent), contextlib.suppress(FileNotFoundError):
        folder.rename(target)


def is_current(folder: Path) -> bool:
    """Whether cached arrays equal what this version reads; older versions read some files differently."""
    return (folder / CURRENT).is_file()


def mark_current(folder: Path) -> None:
    """Mark cached arrays as equal to what this version reads."""
    # A shared cache may be read-only; then the files are only checked again.
    with contextlib.suppress(OSError):
        (folder / CURRENT).touch()


def in_blocks(images: np.ndarray, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yield rows of an array (n, h, w, c) in blocks of at most `BLOCK_BYTES`, at least one row each."""
    step = max(1, BLOCK_BYTES // max(1, images.itemsize * int(np.prod(images.shape[1:]))))
    for start in range(0, len(rows), step):
        yield images[rows[start : start + step]]


@contextmanager
def scratch_folder(cache: Path) -> Iterator[Path]:
    """A folder under the cache for unfinished work, removed at the end, and so are those of killed processes."""
    scratch = cache / f"{SCRATCH}{secrets.token_hex(8)}"
    with contextlib.ExitStack() as locks:
        with place_errors(cache):
            cache.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(cache)
            # Without locks on this file system, other processes can't take this one either, and keep the folder.
            with contextlib.suppress(LocksUnsupported):
                locks.enter_context(scratch_lock(scratch))
            scratch.mkdir()
        try:
            yield scratch
        finally:
            remove_folder(scratch)


def has_stamp(folder: Path, file: Path) -> bool:
    """Whether cached arrays were made from this file, judged by its size and time."""
    try:
        stamps = json.loads((folder / "stamps.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(stamps, dict) and stamps.get(str(file.resolve())) == _stamp(file)


def stamp(folder: Path, file: Path) -> None:
    """Record size and time of the file that cached arrays were made from."""
    # A shared cache may be read-only; without the record the file is only hashed again.
    with contextlib.suppress(UserError):
        write_text(folder / "stamps.json", json.dumps({str(file.resolve()): _stamp(file)}))


def _stamp(file: Path) -> list[int]:
    status = file.stat()
    return [status.st_size, status.st_mtime_ns]


def _remove_abandoned(cache: Path) -> None:
    """Remove the scratch folders that no living process holds, and their locks."""
    for folder in {path.with_suffix("") for path in cache.glob(f"{SCRATCH}*")}:
        with contextlib.suppress(UserError), scratch_lock(folder):
            if not folder.is_symlink():
                remove_folder(folder)


def scratch_lock(scratch: Path) -> contextlib.AbstractContextManager[None]:
    """Hold the lock of a scratch folder; a UserError if another process does."""
    return locked(
        scratch.with_suffix(".lock"),
        lambda holder: UserError(
            f"{scratch} is in use by another process{holder}.", "Wait for it, or stop it first.", str(scratch)
        ),
    )
