"""Check annotations row by row: what is good is kept, what is not is told with its place."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from initpools_cli.core.errors import UserError, nearest
from initpools_cli.datasets.annotations import cvat, folders, label_studio, table
from initpools_cli.datasets.annotations.match import find
from initpools_cli.datasets.annotations.rows import LONGEST, Row, plain
from initpools_cli.datasets.labels import in_order, named

if TYPE_CHECKING:
    import pandas as pd

#: Readers by the ending of the file.
READERS = {
    ".csv": table.read,
    ".tsv": table.read,
    ".txt": table.read,
    ".json": label_studio.read,
    ".xml": cvat.read,
    ".zip": cvat.read,
}


class Problem(NamedTuple):
    """A row that could not be used.

    Attributes
    ----------
    place : str
        "line 12", "task 3".
    image, label : str
        Path and class as the row says; empty where it says none.
    problem : str
        What is wrong with it, as the end of a sentence that begins with the image.
    """

    place: str
    image: str
    label: str
    problem: str

    def __str__(self) -> str:
        return f"{self.place}: {self.image} {self.problem}" if self.image else f"{self.place} {self.problem}"


@dataclass(frozen=True)
class Annotations:
    """What is good of a file of annotations, and what is not.

    Attributes
    ----------
    rows : (m,) int64
        Train rows, ascending, each once.
    labels : list of str
        The class of each.
    problems : list of Problem
        In the order of the file.
    skipped : (k,) int64
        Train rows that annotators could not tell, ascending.
    empty : int
        How many rows have no label yet, nor were skipped.
    notes : list of str
        What the user should be told of the file as a whole.
    """

    rows: np.ndarray
    labels: list[str]
    problems: list[Problem]
    skipped: np.ndarray
    empty: int
    notes: list[str] = field(default_factory=list)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that occur, sorted: as numbers where all are."""
        return in_order(self.labels)


def read_annotations(
    path: Path,
    items: pd.DataFrame,
    classes: Sequence[str],
    root: Path | None = None,
    what: str = "--labels",
    kept: np.ndarray | None = None,
) -> Annotations:
    """Read and check annotations of any format that is known.

    Parameters
    ----------
    path : Path
        A table (.csv, .tsv), Label Studio's .json, CVAT's .xml or .zip, or a folder with a folder per class.
    items : DataFrame
        Rows of items.csv.
    classes : sequence of str
        The classes there can be, which a row may also name by their numbers; empty: any.
    root : Path, optional
        The folder of the data set, for absolute paths.
    what : str
        The flag that names the file, for messages.
    kept : (n train,) bool, optional
        The train images that may be learnt from.

    Raises
    ------
    UserError
        A file that can't be read at all.
    """
    rows, notes = _read(path, what, by_pixels=not any(items["path"]))
    return checked(rows, items, classes, root, notes, kept)


def checked(
    rows: Sequence[Row],
    items: pd.DataFrame,
    classes: Sequence[str],
    root: Path | None,
    notes: Sequence[str] = (),
    kept: np.ndarray | None = None,
) -> Annotations:
    """Keep the rows that name one image and one class, and agree with each other."""
    problems: dict[int, Problem] = {}
    said: dict[int, dict[str, list[int]]] = {}
    skipped: set[int] = set()
    empty, folded = 0, 0
    resolve = _Classes(classes)

    def refuse(number: int, why: str) -> None:
        row = rows[number]
        problems[number] = Problem(_writable(row.place), _writable(row.path.strip()), _writable(row.label), why)

    for number, (row, found) in enumerate(zip(rows, find(rows, items, root), strict=True)):
        label = plain(row.label)
        if isinstance(found, str):
            refuse(number, found)
        elif kept is not None and not kept[found]:
            refuse(number, "is held out for the test, or left out by the long tail of this run")
        elif not label and row.skipped:
            skipped.add(found)
        elif not label:
            empty += 1
        else:
            name = None if _unfit(label) else resolve.name_of(label)
            if name is None:
                refuse(number, _unfit(label) or resolve.problem(label))
                continue
            folded += name != label and name.casefold() == label.casefold()
            said.setdefault(found, {}).setdefault(name, []).append(number)
    for labels in said.values():
        if len(labels) > 1:
            why = f"has different labels in this file: {named([*labels])}"
            for number in sorted(number for numbers in labels.values() for number in numbers):
                refuse(number, why)
    good = sorted((image, next(iter(labels))) for image, labels in said.items() if len(labels) == 1)
    told = [*notes, *([f"labels that differ from a class only by case are taken for it: {folded}"] if folded else [])]
    indices = np.array([image for image, _ in good], dtype=np.int64)
    passed = np.array(sorted(skipped - said.keys()), dtype=np.int64)
    return Annotations(
        indices, [name for _, name in good], [problems[n] for n in sorted(problems)], passed, empty, told
    )


def _unfit(label: str) -> str:
    """Why it can be no class at all; empty where it can."""
    if len(label) > LONGEST:
        return f"has a label of {len(label)} characters, and {LONGEST} are the most"
    hidden = any(unicodedata.category(character) in ("Cc", "Cs") for character in label)
    return "has a label with characters that cannot be seen" if hidden else ""


def _writable(text: str) -> str:
    """What UTF-8 has no bytes for, as in names of files in another encoding, is replaced."""
    return text.encode(errors="replace").decode()


class _Classes:
    """The classes there can be, by all that a row may call them."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = classes
        # Where classes are called by numbers, "0" is the class of that name or none, and not the first.
        numbered = not any(name.isdigit() for name in classes)
        numbers = {str(code): name for code, name in enumerate(classes)} if numbered else {}
        cased = {plain(name).casefold(): name for name in classes}
        once = len(cased) == len(classes)
        self._names = {**numbers, **(cased if once else {}), **{plain(name): name for name in classes}}

    def name_of(self, label: str) -> str | None:
        if not self._classes:
            return label
        # Spreadsheets and data frames write the numbers of a column with gaps as 3.0.
        spellings = (label, label.casefold(), label.removesuffix(".0"))
        return next((self._names[spelling] for spelling in spellings if spelling in self._names), None)

    def problem(self, label: str) -> str:
        guess = nearest(label, self._classes)
        hint = f" (did you mean '{guess}'?)" if guess else f": {', '.join(self._classes[:10])}"
        return f"has the label {label!r}, which is no class{hint}"


def _read(path: Path, what: str, *, by_pixels: bool) -> tuple[list[Row], list[str]]:
    if path.is_dir():
        return folders.read(path, what, by_pixels=by_pixels)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise UserError(
            f"{path} ({what}) is of no kind that is known.",
            f"Give one that ends in {', '.join(READERS)}, or a folder with a folder for each class.",
        )
    if not path.exists():
        raise UserError(f"There is no file {path} ({what}).", "Check the path.")
    return reader(path, what)
