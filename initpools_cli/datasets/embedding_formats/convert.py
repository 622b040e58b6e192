"""The cache of embeddings that can't be memory-mapped: one .npy array, and its ids."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from initpools_cli.core.capacity import require_disk
from initpools_cli.core.checksums import checksum
from initpools_cli.core.errors import UserError
from initpools_cli.core.files import stream_rows, write_text
from initpools_cli.core.remove import remove_folder
from initpools_cli.core.reporter import ProgressBar, Reporter
from initpools_cli.core.system_errors import place_errors
from initpools_cli.datasets.cache import data_home, scratch_folder, set_aside
from initpools_cli.datasets.embedding_formats.stored import StoredEmbeddings

#: Version of the conversion; part of every cache key.
RECIPE = "1"
ARRAY, SUM = "embeddings.npy", "embeddings.sha256"


@dataclass(frozen=True)
class ListedIds:
    """The ids of several files.

    Attributes
    ----------
    ids : list of str or None
        Empty for a missing one.
    ids_from : str
        Where they are from, such as "column 'path'".
    counts : list of int
        The rows of each file.
    """

    ids: list[str] | None
    ids_from: str
    counts: list[int]


def listed_ids(parts: Sequence[StoredEmbeddings]) -> ListedIds:
    """Return the ids of all files, as text; all have ids, or none."""
    counts = [part.shape[0] for part in parts]
    if parts[0].ids is None:
        return ListedIds(None, "", counts)
    return ListedIds([_text(each) for part in parts for each in part.ids or ()], parts[0].ids_from, counts)


def folder_of(files: Sequence[Path], member: str) -> Path:
    """Return the cache folder of files with this content."""
    digest = hashlib.sha256(json.dumps([RECIPE, member]).encode())
    for file in files:
        digest.update(f"\n{file.suffix.lower()} {checksum(file)}".encode())
    return data_home() / "embeddings" / digest.hexdigest()[:32]


def find(folder: Path) -> np.ndarray | None:
    """Return the embeddings in a cache folder, memory-mapped, or None if there are none; move damaged ones aside."""
    if not folder.is_dir():
        return None
    try:
        whole = checksum(folder / ARRAY) == (folder / SUM).read_text(encoding="utf-8")
        array = np.load(folder / ARRAY, mmap_mode="r", allow_pickle=False) if whole else None
    except (OSError, ValueError, EOFError):
        array = None
    if array is None:
        set_aside(folder, ARRAY, "embeddings")
    return array


def find_ids(folder: Path, id_column: str) -> ListedIds | None:
    """Return the ids in a cache folder, or None if those of this column have not been read."""
    try:
        return ListedIds(**json.loads(_ids_file(folder, id_column).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def write_ids(folder: Path, id_column: str, ids: ListedIds) -> None:
    """Add ids to the cache folder of their embeddings."""
    # A shared cache may be read-only; then they are read from the files again.
    with contextlib.suppress(UserError):
        write_text(_ids_file(folder, id_column), json.dumps(vars(ids)))


def _ids_file(folder: Path, id_column: str) -> Path:
    return folder / f"ids-{hashlib.sha256(id_column.encode()).hexdigest()[:8]}.json"


def convert(folder: Path, what: str, parts: Sequence[StoredEmbeddings], report: Reporter) -> np.ndarray:
    """Write the rows of all parts to the cache, in blocks, as one array of their type.

    Parameters
    ----------
    folder : Path
        From `folder_of`.
    what : str
        Name of the files, for messages.
    parts : sequence of StoredEmbeddings
        Of the same width and type.

    Returns
    -------
    ndarray of shape (n, d)
        Memory-mapped.

    Raises
    ------
    UserError
        There is no space or no permission, or a file is damaged.
    """
    home = folder.parent.parent
    n, width, dtype = sum(part.shape[0] for part in parts), parts[0].shape[1], parts[0].dtype
    size = n * width * dtype.itemsize
    require_disk(
        home,
        size,
        f"The embeddings of {what} take",
        "Free some space, or name another folder with INITPOOLS_DATA=DIR.",
    )
    report.say(f"{what}: {n:,} rows are copied to the cache once, {size / 1e6:,.1f} MB ({folder})")
    for note in dict.fromkeys(part.note for part in parts if part.note):
        report.say(f"{what}: {note}")
    with scratch_folder(home) as scratch, place_errors(home), report.progress(f"read {what}", n, "rows") as bar:
        with (scratch / ARRAY).open("wb") as stream:
            stream_rows(stream, _counted(parts, bar), n)
        write_text(scratch / SUM, checksum(scratch / ARRAY))
        folder.parent.mkdir(parents=True, exist_ok=True)
        if find(folder) is None:
            remove_folder(folder)
            # Another process may have written the same array in the meantime.
            with contextlib.suppress(FileExistsError):
                scratch.rename(folder)
    array = find(folder)
    if array is None or len(array) != n:
        raise UserError(
            f"The embeddings written to {folder} can't be read back.",
            "Check the disk, or name another folder with INITPOOLS_DATA=DIR.",
            folder,
        )
    return array


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    # A column of integers with a missing value is one of floats.
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else "" if value != value else str(value)
    return "" if value is None else str(value)


def _counted(parts: Sequence[StoredEmbeddings], bar: ProgressBar) -> Iterator[np.ndarray]:
    for part in parts:
        for block in part.blocks():
            # Bytes may be stored in another order.
            yield block.astype(part.dtype, copy=False)
            bar.advance(len(block))
