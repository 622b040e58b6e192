"""Label files: one row per image of a batch, read leniently, merged per image, and written atomically."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from initpools_cli.core.files import atomic_file
from initpools_cli.core.spreadsheet import escaped_cells
from initpools_cli.datasets.annotations.rows import Details
from initpools_cli.datasets.classes import KnownClasses
from initpools_cli.datasets.spec import Dataset

COLUMNS = ("order", "index", "path", "label", "skipped", "suggested", "confidence", "seconds", "origin")


class Mark(NamedTuple):
    """State of an image: its class ("" for none), whether it was skipped, and how it was labeled."""

    label: str = ""
    skipped: bool = False
    details: Details = Details()

    @property
    def answer(self) -> tuple[str, bool]:
        """The label and whether the image was skipped."""
        return self.label, self.skipped

    @property
    def is_open(self) -> bool:
        """Whether the image is neither labeled nor skipped."""
        return not self.label and not self.skipped


@dataclass(frozen=True)
class ReadMarks:
    """Content of a label file.

    Attributes
    ----------
    marks : dict of int to Mark
        Images of the data set, by train row, in the order of the file.
    unknown : list of list of str
        Rows that name no image of the data set, with `COLUMNS`.
    problems : list of str
        Problems of single lines.
    """

    marks: dict[int, Mark]
    unknown: list[list[str]]
    problems: list[str]


def read_marks(file: Path, data: Dataset, known_classes: KnownClasses) -> ReadMarks:
    """Read a label file; columns may be in any order, as spreadsheets save them.

    Parameters
    ----------
    file : Path
    data : Dataset
    known_classes : KnownClasses
        The known classes.

    Raises
    ------
    UserError
        If the file is not a table of labels, or has ambiguous classes.
    """
    from initpools_cli.datasets.annotations.check import validate
    from initpools_cli.datasets.annotations.match import find
    from initpools_cli.datasets.annotations.table import read
    from initpools_cli.labeling.origin import usable

    rows, _ = read(file, "labels")
    annotations = validate(rows, data.items, known_classes, data.root, what=str(file))
    good = dict(zip(annotations.rows.tolist(), annotations.labels, strict=True))
    marks: dict[int, Mark] = {}
    unknown = []
    for row, image in zip(rows, find(rows, data.items, data.root), strict=True):
        if isinstance(image, str):
            origin, *others = row.details
            unknown.append(["", row.index, row.path, row.label, str(int(row.skipped)), *others, origin])
            continue
        # An unknown label is kept until the annotator chooses a class.
        label = good.get(image, "" if annotations.means.get(row.label) == "" else row.label)
        if image not in marks or label:
            marks[image] = Mark(label, row.skipped and not label, row.details)
    details, notes = usable({image: mark.details for image, mark in marks.items()}, str(file))
    marks = {image: mark._replace(details=details.get(image, Details())) for image, mark in marks.items()}
    return ReadMarks(marks, unknown, [*map(str, annotations.problems), *notes])


def write_marks(
    file: Path,
    indices: Sequence[int],
    paths: Sequence[str],
    marks: Mapping[int, Mark],
    unknown: Sequence[Sequence[str]] = (),
    annotator: str = "",
) -> None:
    """Write a row for every image of a batch, in order, then other images, then unknown rows.

    The file is replaced at once, and is on the disk when this returns.

    Parameters
    ----------
    file : Path
    indices : sequence of int
        The train rows of the batch.
    paths : sequence of str
        The paths of all train images.
    marks : mapping of int to Mark
        Labels of the images in the batch, and of other images.
    unknown : sequence of sequence of str
        Rows with `COLUMNS`.
    annotator : str
        Value of one more column, "annotator"; empty: no such column.
    """
    batch = set(indices)
    stream = io.StringIO(newline="")
    rows = csv.writer(stream, lineterminator="\n")
    mark_rows = [_cells(order, index, paths[index], marks[index]) for order, index in enumerate(indices)]
    mark_rows += [_cells("", index, paths[index], mark) for index, mark in marks.items() if index not in batch]
    lines: list[Sequence[object]] = [COLUMNS, *mark_rows, *map(escaped_cells, unknown)]
    if annotator:
        column = ["annotator", *escaped_cells([annotator]) * (len(lines) - 1)]
        lines = [[*cells, name] for cells, name in zip(lines, column, strict=True)]
    rows.writerows(lines)
    write_to_disk(file, stream.getvalue())


def _cells(order: int | str, index: int, path: str, mark: Mark) -> list[object]:
    origin, *details = mark.details
    return escaped_cells((order, index, path, mark.label, int(mark.skipped), *details, origin))


def write_to_disk(file: Path, text: str) -> None:
    """Write text atomically, and wait until it is on the disk: a power failure later does not lose it."""
    with atomic_file(file) as stream:
        stream.write(text.encode())
        stream.flush()
        os.fsync(stream.fileno())
    _sync_folder(file.parent)


def _sync_folder(folder: Path) -> None:
    """Wait until the new name of a file is on the disk; Windows does not allow it for folders."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        # Some network file systems refuse it for folders; the content of the file is on the disk.
        return
    finally:
        os.close(handle)


def stamp(file: Path) -> tuple[int, int, int]:
    """Return a stamp that changes when a file is written."""
    status = file.stat()
    return status.st_mtime_ns, status.st_ino, status.st_size
