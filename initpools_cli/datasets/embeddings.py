"""Embeddings that users bring: one row per image, in a file, a folder or a pattern of files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from initpools_cli.core.checksums import changed_error, signature
from initpools_cli.core.errors import UserError
from initpools_cli.core.reporter import Reporter
from initpools_cli.datasets.cache import in_blocks
from initpools_cli.datasets.embedding_formats import npz
from initpools_cli.datasets.embedding_formats.convert import (
    ListedIds,
    convert,
    find,
    find_ids,
    folder_of,
    listed_ids,
    write_ids,
)
from initpools_cli.datasets.embedding_formats.location import files_at, locate
from initpools_cli.datasets.embedding_formats.registry import CONVERTED, READERS
from initpools_cli.datasets.embedding_formats.stored import StoredEmbeddings
from initpools_cli.datasets.row_ids import Ids, StoredRows, checked
from initpools_cli.datasets.stored.sniff import holds_images

#: Suffixes of files that may hold embeddings too, but that are not read.
UNREAD = (".txt", ".json", ".jsonl", ".feather", ".arrow", ".pkl", ".pickle", ".mat", ".zarr", ".ckpt", ".tfrecord")
#: What to do about ids in a file of embeddings that can't be used.
OTHER_IDS = "Correct the ids, or name other ones: --id-column NAME; --id-column none ignores them."
#: How such a file is saved.
LAYOUT = "Save an array with one row per image, (images, dimensions), with numpy.save"


@dataclass(frozen=True)
class Embeddings:
    """Embeddings of a user.

    Attributes
    ----------
    array : ndarray of shape (n, d)
        Of a boolean, integer or floating type, memory-mapped; not checked for values that are not finite.
    ids : Ids or None
        The ids that are stored with them.
    files : tuple of Path
        All files that they are in.
    """

    array: np.ndarray
    ids: Ids | None
    files: tuple[Path, ...]


def is_embeddings(name: str) -> bool:
    """Whether the name of a data set is a file or a pattern of embeddings, judged by its ending.

    An .npz file holds images, unless an array is named: ``FILE.npz:NAME``.
    """
    location = locate(name)
    of_images = location.suffix == ".npz" and not location.member
    return location.suffix in READERS and not location.path.is_dir() and not (of_images or holds_images(location.path))


def is_source(name: str) -> bool:
    """Whether a source of embeddings is a file, a pattern or a folder of them, and not a name."""
    location = locate(name)
    if location.path.is_dir():
        return location.suffix in READERS or "/" in name or name.startswith(".")
    is_file = location.suffix in READERS and location.path.name != location.suffix
    return is_file or location.several or name.endswith("/")


def as_dataset(name: str) -> str:
    """Return a source of embeddings as the name of a data set, which can't be one of images.

    Raises
    ------
    UserError
        It has no embeddings.
    """
    location = locate(name)
    if location.member or (not location.several and location.suffix != ".npz"):
        return name
    first = files_at(location)[0]
    if location.path.is_dir():
        name = f"{location.path}/*{first.suffix}"
    elif location.suffix not in READERS:
        name += first.suffix
    return f"{name}:{npz.embeddings_in(first)}" if first.suffix.lower() == ".npz" else name


def refuse_other_file(name: str) -> None:
    """Raise an error if a source of embeddings is a file that is not read.

    Raises
    ------
    UserError
        It is a file of another format.
    """
    path = Path(name)
    if path.suffix.lower() in UNREAD and path.name != path.suffix:
        there = f"{name} is not a {', '.join(READERS)} file." if path.is_file() else f"There is no file {name}."
        raise UserError(there, f"{LAYOUT}: `initpools embed {path.stem}.npy`.", name)


def embedding_files(reference: Path) -> tuple[Path, ...]:
    """Return all files that a path, folder or pattern names; see `files_at`."""
    return files_at(locate(reference))


def read_embeddings(reference: Path, id_column: str = "", report: Reporter | None = None) -> Embeddings:
    """Read embeddings.

    What can't be memory-mapped, and several files, are copied to the cache once.

    Parameters
    ----------
    reference : Path
        A file, also ``FILE.npz:NAME``; a folder, or a pattern such as ``shards/*.npy``.
    id_column : str
        The column or array of ids; default: the one with a usual name, if any; "none": no ids.
    report : Reporter, optional
        Where progress goes.

    Raises
    ------
    UserError
        Files are missing or damaged, hold no numeric array of at least one row and column, don't match each other, or
        changed meanwhile.
    """
    location = locate(reference)
    files = files_at(location)
    _refuse_unknown(files[0])
    before = [signature(file) for file in files]
    if len(files) == 1 and files[0].suffix.lower() not in CONVERTED:
        embeddings = _open(files[0], location.member, id_column)
        if embeddings.array is not None:
            return Embeddings(embeddings.array, _ids(reference, files, listed_ids([embeddings])), files)
    folder = folder_of(files, location.member)
    array, raw_ids = find(folder), find_ids(folder, id_column)
    ids = None if raw_ids is None else _ids(reference, files, raw_ids)
    if array is None or raw_ids is None:
        parts = [_open(file, location.member, id_column) for file in files]
        _refuse_unlike(files, parts)
        raw_ids = listed_ids(parts)
        # Repeated ids are found before anything is copied.
        ids = _ids(reference, files, raw_ids)
        array = convert(folder, str(reference), parts, report or Reporter(quiet=True)) if array is None else array
        write_ids(folder, id_column, raw_ids)
    for file, first in zip(files, before, strict=True):
        if not file.exists() or signature(file) != first:
            raise changed_error(file)
    if files_at(location) != files:
        raise changed_error(location.path)
    return Embeddings(array, ids, files)


def _refuse_unknown(file: Path) -> None:
    if file.suffix.lower() not in READERS:
        raise UserError(f"{file} ends in none of {', '.join(READERS)}.", f"{LAYOUT}, and name that file.", file)


def _open(file: Path, member: str, id_column: str) -> StoredEmbeddings:
    """Open a file and check what it holds."""
    embeddings = READERS[file.suffix.lower()](file, member, id_column)
    if embeddings.dtype.kind not in "biuf":
        raise UserError(
            f"{file} has the type {embeddings.dtype}, not a numeric one.", f"{LAYOUT}, best float32.", embeddings.dtype
        )
    if len(embeddings.shape) != 2 or 0 in embeddings.shape:
        raise UserError(
            f"{file} has the shape {embeddings.shape}, not (images, dimensions).",
            _reshaped(embeddings),
            embeddings.shape,
        )
    if embeddings.ids is not None and len(embeddings.ids) != embeddings.shape[0]:
        raise UserError(
            f"{file} has {len(embeddings.ids)} ids ({embeddings.ids_from}) for {embeddings.shape[0]} rows of "
            "embeddings.",
            "Save one id for each row, or ignore them with --id-column none.",
            len(embeddings.ids),
        )
    return embeddings


def _reshaped(embeddings: StoredEmbeddings) -> str:
    if len(embeddings.shape) == 3:
        return f"{LAYOUT}, such as the mean over patches; `select-pool freesel --patches FILE.npy` reads all patches."
    return f"{LAYOUT}."


def _refuse_unlike(files: Sequence[Path], parts: Sequence[StoredEmbeddings]) -> None:
    """Raise an error if shards differ in anything but their rows."""
    first = parts[0]
    for file, part in zip(files[1:], parts[1:], strict=True):
        for what, one, other in (
            ("dimensions", first.shape[1], part.shape[1]),
            ("type", first.dtype, part.dtype),
            ("encoder", first.encoder[:12] or "none", part.encoder[:12] or "none"),
            ("ids", first.ids_from or "none", part.ids_from or "none"),
        ):
            if one != other:
                raise UserError(
                    f"{file} differs from {files[0]} in its {what}: {other}, not {one}.",
                    "Save all shards in the same way, by the same encoder, or name those that belong together: "
                    "'FOLDER/train-*'.",
                    other,
                )


def _ids(reference: Path, files: Sequence[Path], raw_ids: ListedIds) -> Ids | None:
    """Return checked ids with their places."""
    if raw_ids.ids is None:
        return None
    rows = StoredRows(raw_ids.ids, tuple(file.name for file in files), tuple(raw_ids.counts))
    return checked(Ids(rows, f"{reference} ({raw_ids.ids_from})", OTHER_IDS))


def float32_blocks(
    path: Path, array: np.ndarray, rows: np.ndarray, places: Callable[[int], str]
) -> Iterator[np.ndarray]:
    """Yield rows of embeddings as float32, in blocks.

    Parameters
    ----------
    path : Path
        The file, for messages.
    array : ndarray of shape (n, d)
        From `read_embeddings`.
    rows : ndarray of shape (m,), int64
    places : callable
        Describes a row for messages.

    Raises
    ------
    UserError
        A value is not finite, or too large for float32.
    """
    start = 0
    for block in in_blocks(array, rows):
        with np.errstate(over="ignore"):
            floats = np.ascontiguousarray(block, dtype=np.float32)
        wrong = np.flatnonzero(~np.isfinite(floats).all(axis=1))
        if len(wrong):
            values = block[wrong[0]]
            value = values[~np.isfinite(floats[wrong[0]])][0]
            why = "which is too large for float32" if np.isfinite(value) else "which is not a finite number"
            raise UserError(
                f"{path} contains {value} in {places(start + int(wrong[0]))}, {why}.",
                "Compute the embeddings of that image again, or leave it out of the data set.",
                value,
            )
        start += len(block)
        yield floats


def named_rows(names: Sequence[str], rows: np.ndarray) -> Callable[[int], str]:
    """Return a function that describes row i of a selection of rows, with its name if it has one."""

    def place(number: int) -> str:
        row = int(rows[number])
        return f"row {row} ({names[number]})" if names[number] else f"row {row}"

    return place
