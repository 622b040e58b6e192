"""Ids of the rows of a file of embeddings, and the images that they name."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import read_array, read_file
from initpools_cli.core.wording import counted, named
from initpools_cli.datasets.annotations.match import find
from initpools_cli.datasets.annotations.rows import ID_NAMES, INDEX_NAMES, PATH_NAMES, Row
from initpools_cli.datasets.annotations.table import decoded, read_table
from initpools_cli.datasets.stored.shards import Root

if TYPE_CHECKING:
    import pandas as pd

FLAG = "--ids"


@dataclass(frozen=True)
class StoredRows(Sequence[Row]):
    """Ids that are stored with embeddings, as rows that are made when they are read: millions take little memory.

    Attributes
    ----------
    names : list of str
    files : tuple of str
        The names of the files, for places.
    counts : tuple of int
        The rows of each file.
    """

    names: list[str]
    files: tuple[str, ...]
    counts: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Row]:
        return map(Row, self._places(), map(str.strip, self.names))

    @overload
    def __getitem__(self, at: int) -> Row: ...

    @overload
    def __getitem__(self, at: slice) -> list[Row]: ...

    def __getitem__(self, at: int | slice) -> Row | list[Row]:
        return list(self)[at] if isinstance(at, slice) else next(islice(self, range(len(self))[at], None))

    def _places(self) -> Iterator[str]:
        prefixes = [f"{file} " for file in self.files] if len(self.files) > 1 else [""]
        return (
            f"{prefix}row {row}" for prefix, count in zip(prefixes, self.counts, strict=True) for row in range(count)
        )


@dataclass(frozen=True)
class Ids:
    """The ids of the rows of embeddings.

    Attributes
    ----------
    rows : sequence of Row
        With the path, or the index if a column ``index`` numbers the images.
    where : str
        Where they are from, for messages: "ids.txt (--ids)", "feats.csv (column 'path')".
    remedy : str
        What to do about an invalid id, for messages.
    """

    rows: Sequence[Row]
    where: str
    remedy: str = "Correct that line."


def read_ids(path: Path, count: int) -> Ids:
    """Read the id of every row.

    Parameters
    ----------
    path : Path
        A table (.csv, .tsv) with a column ``path``, ``id`` or ``index``; an .npy of strings or integers; or text with
        one id per line.
    count : int
        Number of rows.

    Returns
    -------
    Ids

    Raises
    ------
    UserError
        The file can't be read, has another number of ids, or ids that are empty or repeat.
    """
    suffix = path.suffix.lower()
    if suffix == ".npy":
        rows = _from_array(path)
    elif suffix in (".csv", ".tsv"):
        rows = _from_table(path)
    else:
        text, _ = decoded(read_file(path, FLAG), path, FLAG)
        lines = re.split(r"\r\n|\r|\n", text)
        while lines and not lines[-1].strip():
            lines.pop()
        rows = [Row(f"line {number}", line.strip()) for number, line in enumerate(lines, 1)]
    if len(rows) != count:
        raise UserError(
            f"{path} ({FLAG}) has {counted(rows, 'id')} for {count} rows of embeddings.",
            "Write one id for each row, in the order of the rows.",
            len(rows),
        )
    return checked(Ids(rows, f"{path} ({FLAG})"))


def checked(ids: Ids) -> Ids:
    """Return the same ids if each can be used, and none repeats.

    Raises
    ------
    UserError
        It names the first empty id, or the repeated ones.
    """
    for row in ids.rows:
        if problem := row.problem or _unfit(row.path or row.index):
            raise UserError(f"{ids.where}, {row.place} {problem}.", ids.remedy, row.place)
    refuse_repeated(ids, [_key(row) for row in ids.rows])
    return ids


def _from_array(path: Path) -> list[Row]:
    array = read_array(path, FLAG)
    if array.ndim != 1 or array.dtype.kind not in "iuU":
        raise UserError(
            f"{path} ({FLAG}) has the shape {array.shape} and the type {array.dtype}, not (n,) strings or integers.",
            "Save one id per row.",
            array.dtype,
        )
    return [Row(f"row {number}", str(value)) for number, value in enumerate(array.tolist())]


def _from_table(path: Path) -> list[Row]:
    table = read_table(path, FLAG)
    place, index = table.place_of((*PATH_NAMES, *ID_NAMES)), table.place_of(INDEX_NAMES)
    if place is None and index is None:
        raise UserError(
            f"{path} ({FLAG}) has no column 'path', 'id' or 'index', only {', '.join(table.columns)}.",
            "Name the column of ids 'id'; a file without a header needs another ending, such as .txt.",
            path,
        )
    rows = []
    for number, cells in table.lines:
        name, count = (cells[at] if at is not None and at < len(cells) else "" for at in (place, index))
        # Items of arrays have an empty path.
        rows.append(Row(f"line {number}", name, "" if name.strip() else count.strip()))
    return rows


def _unfit(name: str) -> str:
    """Return why a text can't be an id; empty if it can."""
    if not name.strip():
        return "has no id"
    if name.isprintable():
        return ""
    odd = next((char for char in name if unicodedata.category(char) in ("Cc", "Cs")), "")
    return f"has an id with the character {odd!a}" if odd else ""


def _key(row: Row) -> str:
    if not row.path:
        return f"index {int(row.index)}" if row.index.isascii() and row.index.isdigit() else f"index {row.index}"
    return unicodedata.normalize("NFC", row.path.strip())


def refuse_repeated(ids: Ids, keys: Sequence[object]) -> None:
    """Raise an error if several rows have the same key.

    Raises
    ------
    UserError
        It names the repeated ids with the places of both.
    """
    if len(set(keys)) == len(keys):
        return
    first: dict[object, Row] = {}
    duplicates = []
    for row, key in zip(ids.rows, keys, strict=True):
        if key not in first:
            first[key] = row
            continue
        before = first[key]
        both = row.path or row.index, before.path or before.index
        what = both[0] if both[0] == both[1] else f"{both[1]} and {both[0]}"
        duplicates.append(f"{what} ({before.place} and {row.place})")
    if duplicates:
        raise UserError(
            f"{ids.where} names {counted(duplicates, 'image')} more than once: {named(duplicates)}.",
            "Keep one row of embeddings, and one id, for each image.",
            named(duplicates),
        )


def order_and_paths(ids: Ids) -> tuple[np.ndarray, list[str]]:
    """Return the order of the images of a new data set, and their paths.

    Ids are paths, in the order of the rows; a column of indices numbers the images.

    Returns
    -------
    order : ndarray of shape (n,), int64
        The row of each image.
    paths : list of str
        Empty strings if rows have indices.

    Raises
    ------
    UserError
        Some rows have no path, or the indices are not 0 to n - 1.
    """
    rows = ids.rows
    paths = [row.path.strip() for row in rows]
    if all(paths):
        return np.arange(len(rows)), paths
    for row in rows:
        if row.path or not (row.index.isascii() and row.index.isdigit() and int(row.index) < len(rows)):
            raise UserError(
                f"{ids.where}, {row.place} has {row.path or row.index}, not an index from 0 to {len(rows) - 1}.",
                "Number all images from 0 in the column 'index', or name all of them in a column 'id'.",
                row.path or row.index,
            )
    order = np.empty(len(rows), np.int64)
    order[[int(row.index) for row in rows]] = np.arange(len(rows))
    return order, [""] * len(rows)


def rows_by_split(
    ids: Ids, items: pd.DataFrame, derived_splits: Iterable[str], root: Root | None
) -> dict[str, np.ndarray]:
    """Return the row of every image, by split.

    Parameters
    ----------
    ids : Ids
    items : DataFrame
        All rows of items.csv.
    derived_splits : iterable of str
        Splits whose images are also in train, which are left out.
    root : Path or Shards, optional
        The folder of the data set, for absolute paths.

    Returns
    -------
    dict of str to ndarray of shape (n,), int64
        Train, and the other splits that are named.

    Raises
    ------
    UserError
        Ids are unknown, name one image twice, or lack some images of a split.
    """
    own = items[~items["split"].isin(list(derived_splits))].reset_index(drop=True)
    # All splits are searched, as one sequence in the order of items.csv, where train is first.
    everything = own.assign(split="train", index=np.arange(len(own)))
    train = int((own["split"] == "train").sum())
    paths = {name for name in own["path"] if name}
    rows: Sequence[Row] = ids.rows
    named_row = next((row for row in rows if not row.path.isdigit() and row.path), None)
    if not paths and named_row is not None:
        raise UserError(
            f"{ids.where}, {named_row.place} has the id {named_row.path}, but the images of the run have only indices.",
            f"Write the index of each row's image, from 0 to {train - 1}.",
            named_row.path,
        )
    if not paths or (all(row.path.isdigit() for row in rows) and paths.isdisjoint(row.path for row in rows)):
        # Integers are indices of train images, unless they are paths.
        rows = [replace(row, path="", index=row.path or row.index) for row in rows]
    images = find(rows, everything, root)
    wrong = []
    for row, image in zip(rows, images, strict=True):
        if isinstance(image, int) and not row.path and image >= train:
            image = f"has the index {row.index}, but there are {train} train images"
        if isinstance(image, str):
            wrong.append(f"{row.place}: {row.path} {image}" if row.path else f"{row.place} {image}")
    if wrong:
        more = f", and {counted(wrong[1:], 'more id')} are wrong" if len(wrong) > 2 else ""
        more = more or (f"; {wrong[1]}" if wrong[1:] else "")
        raise UserError(
            f"{ids.where}, {wrong[0]}{more}.",
            "Correct these ids, or leave out their rows of embeddings; the images of the run are in data/items.csv.",
            wrong[0],
        )
    refuse_repeated(replace(ids, rows=rows), images)
    of_image = np.full(len(own), -1, np.int64)
    of_image[np.array(images, dtype=np.int64)] = np.arange(len(rows))
    splits = {}
    for split in own["split"].unique():
        inside = np.flatnonzero(own["split"] == split)
        lacking = inside[of_image[inside] < 0]
        if len(lacking) == len(inside) and split != "train":
            continue
        if len(lacking):
            names = [own["path"][at] or f"index {own['index'][at]}" for at in lacking[:6]]
            names += [""] * (len(lacking) - len(names))
            raise UserError(
                f"{ids.where} lacks {len(lacking)} of the {len(inside)} {split} images: {named(names)}.",
                "Add the embeddings of these images, with their ids.",
                named(names),
            )
        splits[str(split)] = of_image[inside]
    return splits
