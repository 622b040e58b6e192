"""Read labels that the user brings: tables of annotations, and arrays of one class per image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import read_array
from initpools_cli.core.reporter import Reporter
from initpools_cli.datasets.multilabel import (
    array_notes,
    labeled_rows,
    labels_of_array,
    labels_of_texts,
    require_classes,
)

if TYPE_CHECKING:
    import pandas as pd

#: An array of labels as numbers, without class names, may go up to this.
MOST_CLASSES = 1_000_000


@dataclass(frozen=True)
class Labels:
    """The labels that a file holds.

    Attributes
    ----------
    rows : (m,) int64
        Images, in the order of the file.
    labels : (m,) int64, or (m, c) int8
        Their class numbers, or with several labels per image 0 and 1 for each class.
    classes : tuple of str
        Class names by class number.
    images : int
        How many images there are.
    """

    rows: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    images: int

    @cached_property
    def by_image(self) -> np.ndarray:
        """The labels of every image, (images,) int64 or (images, c) int8; -1 where there is none."""
        labels = np.full((self.images, *self.labels.shape[1:]), -1, dtype=self.labels.dtype)
        labels[self.rows] = self.labels
        return labels


def read_labels(
    path: Path,
    items: pd.DataFrame | None,
    classes: tuple[str, ...],
    flag: str = "--labels",
    report: Reporter | None = None,
    multilabel: bool | None = False,
) -> Labels:
    """The labels in a table, an export of an annotation tool, a folder per class, or an array.

    Parameters
    ----------
    path : Path
        What `datasets.annotations` reads: a .csv with ``path`` or ``index``, and ``label`` (a class name or number),
        an export of Label Studio or CVAT, a folder per class; rows with an empty label are skipped. Or an .npy of a
        class for every image.
    items : DataFrame, optional
        The train rows of items.csv; without them only an array can be read.
    classes : tuple of str
        The only classes there can be; empty: the file's own in sorted order.
    report : Reporter, optional
        Reports which rows have no label.
    multilabel : bool or None
        Whether images can have several labels; None: the file decides.

    Raises
    ------
    UserError
        No such columns, an unknown path or class, one image with two labels, or a table without `items`.
    """
    if path.suffix.lower() == ".npy":
        return _labels_of_all(path, None if items is None else len(items), classes, flag, report, multilabel)
    if items is None:
        raise UserError(
            f"{path} ({flag}) is a table: its rows name images of a run.",
            "Name the run with --run DIR, or pass an .npy of one class per image, -1 for none.",
            str(path),
        )
    from initpools_cli.datasets.annotations.check import read_annotations
    from initpools_cli.datasets.classes import KnownClasses

    annotations = read_annotations(path, items, KnownClasses(classes, multilabel=multilabel), None, flag)
    _say(report, annotations.notes)
    if annotations.problems:
        more = f", and {len(annotations.problems) - 1} more rows are wrong" if annotations.problems[1:] else ""
        raise UserError(
            f"{path} ({flag}), {annotations.problems[0]}{more}.",
            "Correct these rows or leave them out, and run again.",
            str(path),
        )
    if not len(annotations.rows):
        raise UserError(
            f"{path} ({flag}) has no row with a label.", "Fill the column 'label' and run again.", str(path)
        )
    classes = classes or annotations.classes
    if annotations.multilabel:
        require_classes(classes, f"{path} ({flag})")
        return Labels(annotations.rows, labels_of_texts(annotations.labels, classes), classes, len(items))
    numbers = {name: code for code, name in enumerate(classes)}
    return Labels(
        annotations.rows, np.array([numbers[name] for name in annotations.labels], dtype=np.int64), classes, len(items)
    )


def label_numbers(
    labels: np.ndarray, what: str, classes: tuple[str, ...], report: Reporter | None = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The class number of every image, (n,) int64, -1 for none; and the classes.

    Without classes, numbers in the array are the class numbers, which the columns of ``--probs`` follow.
    """
    from initpools_cli.datasets.label_arrays import encode_labels

    encoded_labels = encode_labels({"the array": labels}, what, classes)
    _say(report, encoded_labels.notes)
    codes = encoded_labels.codes["the array"]
    if classes or not all(name.removeprefix("-").isdigit() for name in encoded_labels.classes):
        return codes, encoded_labels.classes
    values = np.array([int(name) for name in encoded_labels.classes] or [-1], dtype=object)
    if len(encoded_labels.classes) and not 0 <= min(values) <= max(values) < MOST_CLASSES:
        wrong = min(values) if min(values) < 0 else max(values)
        raise UserError(
            f"{what} has the label {wrong}.", "Number the classes from 0, and write -1 for unknown.", str(wrong)
        )
    names = tuple(map(str, range(int(max(values)) + 1)))
    return np.where(codes < 0, -1, values[codes].astype(np.int64)), names


def _labels_of_all(
    path: Path,
    count: int | None,
    classes: tuple[str, ...],
    flag: str,
    report: Reporter | None,
    multilabel: bool | None,
) -> Labels:
    array = read_array(path, flag)
    columns = array.ndim == 2 and array.shape[1] > 1
    if multilabel or (columns and multilabel is None):
        return _several_of_all(path, array, count, classes, flag, report)
    # MedMNIST has its labels as (n, 1).
    array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if array.ndim != 1 or not len(array):
        raise UserError(
            f"{path} ({flag}) has the shape {array.shape}, not (n,).",
            "Save one class per image; for several labels per image, use a run of such a data set or add "
            "--set dataset.multilabel=true.",
            str(array.shape),
        )
    if count is not None and len(array) != count:
        raise UserError(
            f"{path} ({flag}) has {len(array)} labels for {count} train images.",
            "Save one label per train image, -1 for none.",
            str(len(array)),
        )
    labels, classes = label_numbers(array, f"{path} ({flag})", classes, report)
    rows = np.flatnonzero(labels >= 0)
    if count is not None and not len(rows):
        raise UserError(f"{path} ({flag}) has no label.", "Fill in at least one: -1 stands for no label.", str(path))
    return Labels(rows, labels[rows], classes, len(labels))


def _several_of_all(
    path: Path, array: np.ndarray, count: int | None, classes: tuple[str, ...], flag: str, report: Reporter | None
) -> Labels:
    """Return labels from an array with a column for each class."""
    what = f"{path} ({flag})"
    width = array.shape[1] if array.ndim == 2 else 0
    if width < 2 or (classes and len(classes) != width) or (count is not None and len(array) != count):
        expected_shape = f"({'n' if count is None else count}, {len(classes) or 'classes'})"
        raise UserError(
            f"{what} has the shape {array.shape}, not {expected_shape}.",
            "Save a column of 0 and 1 for each class, and a row for each train image.",
            array.shape,
        )
    labels = labels_of_array(path, flag, array)
    _say(report, array_notes(what, [labels]))
    rows = labeled_rows(labels)
    if not len(rows):
        raise UserError(f"{what} has no label.", "Fill in at least one row: -1 stands for no label.", str(path))
    return Labels(rows, labels[rows], classes or tuple(map(str, range(width))), len(labels))


def _say(report: Reporter | None, notes: Sequence[str]) -> None:
    for note in notes:
        if report is not None:
            report.once(note)
