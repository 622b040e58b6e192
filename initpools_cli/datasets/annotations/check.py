"""Validation of annotations row by row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from initpools_cli.core.errors import UserError, nearest
from initpools_cli.core.files import require_file
from initpools_cli.core.wording import named
from initpools_cli.datasets.annotations import cvat, folders, label_studio, table
from initpools_cli.datasets.annotations.annotators import Vote, file_annotators, require_spelling
from initpools_cli.datasets.annotations.match import find
from initpools_cli.datasets.annotations.rows import Details, Row
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
from initpools_cli.datasets.label_sets import bar_note, classes_in, none_note, set_meanings, why_invalid
from initpools_cli.datasets.multilabel import SEPARATOR
from initpools_cli.datasets.stored.shards import Root

if TYPE_CHECKING:
    import pandas as pd

#: Readers by file suffix.
READERS = {
    ".csv": table.read,
    ".tsv": table.read,
    ".txt": table.read,
    ".json": label_studio.read,
    ".xml": cvat.read,
    ".zip": cvat.read,
}


class Problem(NamedTuple):
    """An invalid row of annotations.

    Attributes
    ----------
    place : str
        Where the row is, such as "line 12" or "task 3".
    image, label : str
        Path and class of the row; empty if missing.
    problem : str
        What is wrong, as the end of a sentence that starts with the image.
    """

    place: str
    image: str
    label: str
    problem: str

    def __str__(self) -> str:
        return f"{self.place}: {self.image} {self.problem}" if self.image else f"{self.place} {self.problem}"


@dataclass(frozen=True)
class Annotations:
    """Valid labels of a file of annotations, and its problems.

    Attributes
    ----------
    rows : (m,) int64
        Train rows, ascending, each once.
    labels : list of str
        The class of each row.
    problems : list of Problem
        In the order of the file.
    skipped : (k,) int64
        Train rows that annotators skipped, ascending.
    empty : int
        Number of rows without label that were not skipped.
    notes : list of str
        Notes for the user on the whole file.
    means : dict of str to str or None
        The class of every spelling in the file, and of every label that was known before.
    details : dict of int to Details
        How the images of `rows` and `skipped` were labeled, where the file says so.
    multilabel : bool
        Whether images can have several labels: each label is then classes joined by ``|``, or ``none``.
    votes : list of Vote
        The labels of single annotators, in the order of the file; empty if it names no annotator.
    """

    rows: np.ndarray
    labels: list[str]
    problems: list[Problem]
    skipped: np.ndarray
    empty: int
    notes: list[str] = field(default_factory=list)
    means: dict[str, str | None] = field(default_factory=dict)
    details: dict[int, Details] = field(default_factory=dict)
    multilabel: bool = False
    votes: list[Vote] = field(default_factory=list)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that occur, sorted; by value if all are numbers."""
        return classes_in(self.labels) if self.multilabel else in_order(self.labels)


def read_annotations(
    path: Path | Sequence[Path],
    items: pd.DataFrame,
    known_classes: KnownClasses,
    root: Root | None = None,
    what: str = "--labels",
    mask: np.ndarray | None = None,
    before: Mapping[int, str] | None = None,
) -> Annotations:
    """Read and validate annotations of any supported format.

    Parameters
    ----------
    path : Path or sequence of Path
        A table (.csv, .tsv), Label Studio's .json, CVAT's .xml or .zip, or a folder with a folder per class. Of several
        files, each without a column ``annotator`` is of one annotator.
    items : DataFrame
        Rows of items.csv.
    known_classes : KnownClasses
        The known classes; without names: any class.
    root : Path or Shards, optional
        The folder of the data set, for absolute paths.
    what : str
        The option that names the file, for messages.
    mask : (n train,) bool, optional
        The train images that can have labels.
    before : mapping of int to str, optional
        Existing labels of train images: those that the file does not replace must agree with its spelling of classes.

    Raises
    ------
    UserError
        The file can't be read, or its classes are ambiguous.
    """
    files = [path] if isinstance(path, Path) else [*path]
    by_pixels = not any(items["path"])
    if len(files) == 1:
        rows, notes = _read(files[0], what, by_pixels=by_pixels)
    else:
        rows, notes = _read_together(files, what, by_pixels=by_pixels)
    return validate(rows, items, known_classes, root, notes, mask, before, f"{' and '.join(map(str, files))} ({what})")


def validate(
    rows: Sequence[Row],
    items: pd.DataFrame,
    known_classes: KnownClasses,
    root: Root | None,
    notes: Sequence[str] = (),
    mask: np.ndarray | None = None,
    before: Mapping[int, str] | None = None,
    what: str = "The file",
) -> Annotations:
    """Return the labels of rows that name one image and one class without contradiction, and all problems.

    Rows of different annotators may differ; then the last label of an image counts.
    """
    require_spelling({row.annotator for row in rows}, what)
    known_classes = replace(known_classes, multilabel=is_multilabel(rows, known_classes, what))
    if known_classes.multilabel:
        rows = [replace(row, label=SEPARATOR.join(row.parts), problem="") if row.parts else row for row in rows]
    images, problems = _images(rows, items, root, mask)
    meaning = _meanings(
        [(image, rows[number].label) for number, image in images.items()], known_classes, before or {}, what
    )
    class_of = {number: meaning.of[rows[number].label] for number in images}
    problems |= {
        number: _unknown(rows[number].label, known_classes) for number, name in class_of.items() if name is None
    }
    unlabeled = [number for number, name in class_of.items() if name == ""]
    skips = {images[number]: number for number in unlabeled if rows[number].skipped}
    empty = [number for number in unlabeled if not rows[number].skipped]
    votes, contradictions = _votes(rows, images, class_of)
    problems |= contradictions
    labeled_images = {images[number] for number, name in class_of.items() if name}
    unique = sorted({vote.image: vote.label for vote in votes.values()}.items())
    row_of_image = skips | {vote.image: number for number, vote in votes.items()}
    several_annotators = any(vote.annotator for vote in votes.values())
    return Annotations(
        np.array([image for image, _ in unique], dtype=np.int64),
        [name for _, name in unique],
        [_problem(rows[number], problems[number]) for number in sorted(problems)],
        np.array(sorted(skips.keys() - labeled_images), dtype=np.int64),
        len(empty),
        [
            *notes,
            *meaning.notes,
            *_notes(what, rows, empty, [name for _, name in unique], known_classes, votes.values()),
        ],
        meaning.of,
        {image: rows[number].details for image, number in row_of_image.items() if any(rows[number].details)},
        bool(known_classes.multilabel),
        [*votes.values()] if several_annotators else [],
    )


def _images(
    rows: Sequence[Row], items: pd.DataFrame, root: Root | None, mask: np.ndarray | None
) -> tuple[dict[int, int], dict[int, str]]:
    """Return the image of each valid row, and the problem of each other row, by the number of the row."""
    images: dict[int, int] = {}
    problems: dict[int, str] = {}
    for number, (row, image) in enumerate(zip(rows, find(rows, items, root), strict=True)):
        if isinstance(image, str):
            problems[number] = image
        elif mask is not None and not mask[image]:
            problems[number] = "is in the held-out test split, or outside the long tail of this run"
        elif problem := unfit(plain(row.label)):
            problems[number] = problem
        else:
            images[number] = image
    return images, problems


def _votes(
    rows: Sequence[Row], images: Mapping[int, int], class_of: Mapping[int, str | None]
) -> tuple[dict[int, Vote], dict[int, str]]:
    """Return the label of each image by each annotator, and the problems of rows that contradict each other.

    Both by the number of the row, ascending; of equal labels the last row counts.
    """
    rows_of: dict[tuple[int, str], dict[str, list[int]]] = {}
    for number, name in class_of.items():
        if name:
            rows_of.setdefault((images[number], rows[number].annotator), {}).setdefault(name, []).append(number)
    votes: dict[int, Vote] = {}
    problems: dict[int, str] = {}
    for (image, annotator), labels in rows_of.items():
        if len(labels) == 1:
            ((name, numbers),) = labels.items()
            votes[numbers[-1]] = Vote(image, annotator, name)
        else:
            by = f" by '{annotator}'" if annotator else " in this file"
            problem = f"has different labels{by}: {named([*labels])}"
            problems |= {number: problem for numbers in labels.values() for number in numbers}
    return dict(sorted(votes.items())), problems


def _notes(
    what: str,
    rows: Sequence[Row],
    empty: Sequence[int],
    labels: Sequence[str],
    known_classes: KnownClasses,
    votes: Collection[Vote],
) -> list[str]:
    """Return notes on rows without a label, on labels that look like several, and on labels without an annotator."""
    notes = []
    if empty:
        places, spellings = [rows[number].place for number in empty], {rows[number].label for number in empty}
        notes.append(no_label_note(what, places, len(rows), spellings))
    notes += none_note(what, labels) if known_classes.multilabel else bar_note(what, labels, known_classes.names)
    final = sum(not vote.annotator for vote in votes)
    if final and any(vote.annotator for vote in votes):
        rows_have = "1 label has no annotator and is" if final == 1 else f"{final} labels have no annotator and are"
        notes.append(f"{what}: {rows_have} final, whatever others said.")
    return notes


def _meanings(
    labels: Sequence[tuple[int, str]], known_classes: KnownClasses, before: Mapping[int, str], what: str
) -> Meanings:
    """Return the classes of labels (image, spelling) and of existing labels that the file does not replace."""
    labeled_images = {image for image, spelling in labels if not says_nothing(spelling)}
    # Numbers can't conflict. Numbers that the file replaces are kept too, to see whether anything changes.
    old_labels = [
        label
        for image, label in before.items()
        if label and (image not in labeled_images or says_nothing(label) or value_of(plain(label)) is not None)
    ]
    remedy = "Use one spelling for each class in the file, and run the command again."
    if before and not known_classes.multilabel:
        remedy += " If the one of earlier rounds is wrong: `initpools label --rename OLD=NEW`."
    find_meanings = set_meanings if known_classes.multilabel else meanings
    return find_meanings(
        Counter([*old_labels, *(spelling for _, spelling in labels)]),
        known_classes,
        prefer=set(old_labels),
        what=what,
        remedy=remedy,
    )


def is_multilabel(rows: Sequence[Row], known_classes: KnownClasses, what: str) -> bool:
    """Return whether the labels of a file can be several classes, by the data set or else by the file.

    Raises
    ------
    UserError
        The file has several labels per image, and the data set one class.
    """
    in_file = any(row.multilabel for row in rows)
    if in_file and known_classes.multilabel is False:
        raise UserError(
            f"{what} has a column 'labels', of several labels per image, but this run has one class per image.",
            "Name the column 'label', or start a run for several labels: --run DIR --set dataset.multilabel=true.",
            "'labels'",
        )
    return in_file if known_classes.multilabel is None else known_classes.multilabel


def _unknown(label: str, known_classes: KnownClasses) -> str:
    """Say that a label is not a class, and which class may be meant."""
    if known_classes.multilabel:
        return why_invalid(label, known_classes)
    label, names = plain(label), known_classes.names
    guess = nearest(label, names)
    hint = f" (did you mean '{guess}'?)" if guess else f": {', '.join(names[:10])}"
    return f"has the label {label!r}, which is not a class{hint}"


def _problem(row: Row, problem: str) -> Problem:
    return Problem(_encodable(row.place), _encodable(row.path.strip()), _encodable(plain(row.label)), problem)


def _encodable(text: str) -> str:
    """Replace characters that can't be encoded as UTF-8, as in file names of another encoding."""
    return text.encode(errors="replace").decode()


def _read_together(files: Sequence[Path], what: str, *, by_pixels: bool) -> tuple[list[Row], list[str]]:
    """Read several files; a file without a column of annotators is of one annotator, named like the file."""
    together: list[Row] = []
    notes: list[str] = []
    for file, annotator in zip(files, file_annotators(files), strict=True):
        rows, own_notes = _read(file, what, by_pixels=by_pixels)
        unnamed = not any(row.annotator for row in rows)
        together += [
            replace(row, place=f"{file}, {row.place}", annotator=annotator if unnamed else row.annotator)
            for row in rows
        ]
        notes += own_notes
    return together, notes


def _read(path: Path, what: str, *, by_pixels: bool) -> tuple[list[Row], list[str]]:
    if path.is_dir():
        return folders.read(path, what, by_pixels=by_pixels)
    require_file(path, what)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise UserError(
            f"{path} ({what}) has an unsupported format.",
            f"Name a file that ends in {', '.join(READERS)}, or a folder with one sub-folder per class.",
            path,
        )
    return reader(path, what)
