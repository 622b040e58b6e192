"""The cache of embeddings that can't be memory-mapped: one .npy array, with its ids."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from initpools_cli.core.capacity import require_disk
from initpools_cli.core.checksums import checksum
from initpools_cli.core.errors import UserError
from initpools_cli.core.files import stream_rows, write_text
from initpools_cli.core.reporter import ProgressBar, Reporter
from initpools_cli.core.system_errors import place_errors
from initpools_cli.datasets.cache import data_home, scratch_folder, set_aside
from initpools_cli.datasets.embedding_formats.stored import Stored

#: Version of the conversion; part of every cache key.
RECIPE = "1"
ARRAY, FACTS = "embeddings.npy", "facts.json"


@dataclass(frozen=True)
class Converted:
    """Embeddings in the cache.

    Attributes
    ----------
    array : ndarray of shape (n, d)
        Memory-mapped.
    counts : list of int
        The rows of each file.
    ids : list of str or None
    ids_from : str
    """

    array: np.ndarray
    counts: list[int]
    ids: list[str] | None
    ids_from: str


@dataclass(frozen=True)
class Facts:
    """What the cache says of an array, as JSON."""

    sha256: str
    counts: list[int]
    ids: list[str] | None
    ids_from: str


def folder_of(files: Sequence[Path], member: str, id_column: str) -> Path:
    """Return the cache folder of files with this content."""
    digest = hashlib.sha256(json.dumps([RECIPE, member, id_column]).encode())
    for file in files:
        digest.update(f"\n{file.suffix.lower()} {checksum(file)}".encode())
    return data_home() / "embeddings" / digest.hexdigest()[:32]


def find(folder: Path) -> Converted | None:
    """Return the embeddings in a cache folder, or None if there are none; damaged ones are moved aside."""
    if not (folder / FACTS).is_file():
        return None
    try:
        facts = Facts(**json.loads((folder / FACTS).read_text(encoding="utf-8")))
        whole = checksum(folder / ARRAY) == facts.sha256
        array = np.load(folder / ARRAY, mmap_mode="r", allow_pickle=False) if whole else None
    except (OSError, ValueError, TypeError, EOFError):
        array = None
    if array is None:
        set_aside(folder, ARRAY, "embeddings")
        return None
    return Converted(array, facts.counts, facts.ids, facts.ids_from)


def convert(folder: Path, what: str, parts: Sequence[Stored], report: Reporter) -> Converted:
    """Write the rows of all parts to the cache, in blocks, as one array of their type.

    Parameters
    ----------
    folder : Path
        From `folder_of`.
    what : str
        Name of the files, for messages.
    parts : sequence of Stored
        Of the same width and type; all with ids, or none.

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
    ids = None if parts[0].ids is None else [_text(each) for part in parts for each in part.ids or ()]
    with scratch_folder(home) as scratch, place_errors(home), report.progress(f"read {what}", n, "rows") as bar:
        with (scratch / ARRAY).open("wb") as stream:
            stream_rows(stream, _counted(parts, bar), n)
        facts = Facts(checksum(scratch / ARRAY), [part.shape[0] for part in parts], ids, parts[0].ids_from)
        write_text(scratch / FACTS, json.dumps(asdict(facts)))
        folder.parent.mkdir(parents=True, exist_ok=True)
        if find(folder) is None:
            shutil.rmtree(folder, ignore_errors=True)
            # Another process may have written the same array in the meantime.
            with contextlib.suppress(FileExistsError):
                scratch.rename(folder)
    found = find(folder)
    if found is None or len(found.array) != n:
        raise UserError(
            f"The embeddings written to {folder} can't be read back.",
            "Check the disk, or name another folder with INITPOOLS_DATA=DIR.",
            folder,
        )
    return found


def texts(stored: Stored) -> list[str] | None:
    """Return the ids of a file as text; empty for a missing one."""
    return None if stored.ids is None else [_text(each) for each in stored.ids]


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    # A column of integers with a missing value is one of floats.
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else "" if value != value else str(value)
    return "" if value is None else str(value)


def _counted(parts: Sequence[Stored], bar: ProgressBar) -> Iterator[np.ndarray]:
    for part in parts:
        for block in part.blocks():
            yield block
            bar.advance(len(block))
