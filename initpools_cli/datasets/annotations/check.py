"""Check annotations row by row: what is good is kept, what is not is told with its place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from initpools_cli.core.errors import UserError, nearest
from initpools_cli.core.files import require_file
from initpools_cli.datasets.annotations import cvat, folders, label_studio, table
from initpools_cli.datasets.annotations.match import find
from initpools_cli.datasets.annotations.rows import Row
from initpools_cli.datasets.classes import (
    KnownClasses,
    Meanings,
    in_order,
    meanings,
    no_label_note,
    plain,
    says_nothing,
    unfit,
    value_of,
)
from initpools_cli.datasets.labels import named

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
    means : dict of str to str or None
        The class of every spelling in the file, and of every label that was known before.
    """

    rows: np.ndarray
    labels: list[str]
    problems: list[Problem]
    skipped: np.ndarray
    empty: int
    notes: list[str] = field(default_factory=list)
    means: dict[str, str | None] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that occur, sorted: as numbers where all are."""
        return in_order(self.labels)


def read_annotations(
    path: Path,
    items: pd.DataFrame,
    known: KnownClasses,
    root: Path | None = None,
    what: str = "--labels",
    kept: np.ndarray | None = None,
    before: Mapping[int, str] | None = None,
) -> Annotations:
    """Read and check annotations of any format that is known.

    Parameters
    ----------
    path : Path
        A table (.csv, .tsv), Label Studio's .json, CVAT's .xml or .zip, or a folder with a folder per class.
    items : DataFrame
        Rows of items.csv.
    known : KnownClasses
        The classes there can be; without names: any.
    root : Path, optional
        The folder of the data set, for absolute paths.
    what : str
        The flag that names the file, for messages.
    kept : (n train,) bool, optional
        The train images that may be learned from.
    before : mapping of int to str, optional
        Labels that train images have already: those that the file does not replace are held against its classes.

    Raises
    ------
    UserError
        A file that can't be read at all, or classes that nobody can tell apart.
    """
    rows, notes = _read(path, what, by_pixels=not any(items["path"]))
    return checked(rows, items, known, root, notes, kept, before, f"{path} ({what})")


def checked(
    rows: Sequence[Row],
    items: pd.DataFrame,
    known: KnownClasses,
    root: Path | None,
    notes: Sequence[str] = (),
    kept: np.ndarray | None = None,
    before: Mapping[int, str] | None = None,
    what: str = "The file",
) -> Annotations:
    """Keep the rows that name one image and one class, and agree with each other."""
    problems: dict[int, Problem] = {}
    said: dict[int, dict[str, list[int]]] = {}
    skipped: set[int] = set()
    empty: list[int] = []

    def refuse(number: int, why: str) -> None:
        row = rows[number]
        problems[number] = Problem(_writable(row.place), _writable(row.path.strip()), _writable(plain(row.label)), why)

    good: dict[int, int] = {}
    for number, (row, found) in enumerate(zip(rows, find(rows, items, root), strict=True)):
        if isinstance(found, str):
            refuse(number, found)
        elif kept is not None and not kept[found]:
            refuse(number, "is held out for the test, or left out by the long tail of this run")
        elif why := unfit(plain(row.label)):
            refuse(number, why)
        else:
            good[number] = found
    meant = _meant([(found, rows[number].label) for number, found in good.items()], known, before or {}, what)
    for number, found in good.items():
        row = rows[number]
        name = meant.of[row.label]
        if name is None:
            refuse(number, _no_class(plain(row.label), known.names))
        elif name:
            said.setdefault(found, {}).setdefault(name, []).append(number)
        elif row.skipped:
            skipped.add(found)
        else:
            empty.append(number)
    for labels in said.values():
        if len(labels) > 1:
            why = f"has different labels in this file: {named([*labels])}"
            for number in sorted(number for numbers in labels.values() for number in numbers):
                refuse(number, why)
    kept_rows = sorted((image, next(iter(labels))) for image, labels in said.items() if len(labels) == 1)
    told = [*notes, *meant.notes]
    if empty:
        places, spellings = [rows[number].place for number in empty], {rows[number].label for number in empty}
        told.append(no_label_note(what, places, len(rows), spellings))
    return Annotations(
        np.array([image for image, _ in kept_rows], dtype=np.int64),
        [name for _, name in kept_rows],
        [problems[n] for n in sorted(problems)],
        np.array(sorted(skipped - said.keys()), dtype=np.int64),
        len(empty),
        told,
        meant.of,
    )


def _meant(labels: Sequence[tuple[int, str]], known: KnownClasses, before: Mapping[int, str], what: str) -> Meanings:
    """What the labels (image, spelling) mean, together with those that images keep from before."""
    replaced = {image for image, spelling in labels if not says_nothing(spelling)}
    # Numbers can't clash, and those that are replaced tell whether anything changes.
    stays = [
        label
        for image, label in before.items()
        if label and (image not in replaced or says_nothing(label) or value_of(plain(label)) is not None)
    ]
    remedy = "Write each class in one way there, and run again."
    if before:
        remedy += (
            " A class of earlier rounds is changed by giving its images their label anew: "
            "loop/round-N/labels.csv of the run lists them."
        )
    return meanings(
        Counter([*stays, *(spelling for _, spelling in labels)]), known, prefer=set(stays), what=what, remedy=remedy
    )


def _no_class(label: str, classes: Sequence[str]) -> str:
    guess = nearest(label, classes)
    hint = f" (did you mean '{guess}'?)" if guess else f": {', '.join(classes[:10])}"
    return f"has the label {label!r}, which is no class{hint}"


def _writable(text: str) -> str:
    """What UTF-8 has no bytes for, as in names of files in another encoding, is replaced."""
    return text.encode(errors="replace").decode()


def _read(path: Path, what: str, *, by_pixels: bool) -> tuple[list[Row], list[str]]:
    if path.is_dir():
        return folders.read(path, what, by_pixels=by_pixels)
    require_file(path, what)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise UserError(
            f"{path} ({what}) is of no kind that is known.",
            f"Give one that ends in {', '.join(READERS)}, or a folder with a folder for each class.",
        )
    return reader(path, what)
