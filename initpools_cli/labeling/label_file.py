"""Label files: one row per image of a batch, read leniently and written atomically."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from initpools_cli.core.files import write_text
from initpools_cli.datasets.classes import KnownClasses
from initpools_cli.datasets.spec import Dataset

COLUMNS = ("order", "index", "path", "label", "skipped")


class Mark(NamedTuple):
    """State of an image: its class ("" for none), and whether it was skipped."""

    label: str = ""
    skipped: bool = False


@dataclass(frozen=True)
class ReadMarks:
    """Content of a label file.

    Attributes
    ----------
    marks : dict of int to Mark
        Images of the batch, by train row.
    others : list of list of str
        Rows of other or unknown images, with `COLUMNS`.
    problems : list of str
        Problems of single lines.
    """

    marks: dict[int, Mark]
    others: list[list[str]]
    problems: list[str]


def read_marks(file: Path, data: Dataset, indices: Sequence[int], known: KnownClasses) -> ReadMarks:
    """Read a label file for a batch; columns may be in any order, as spreadsheets save them.

    Parameters
    ----------
    file : Path
    data : Dataset
    indices : sequence of int
        The train rows of the batch.
    known : KnownClasses
        The known classes.

    Raises
    ------
    UserError
        If the file is not a table of labels, or has ambiguous classes.
    """
    from initpools_cli.datasets.annotations.check import validate
    from initpools_cli.datasets.annotations.match import find
    from initpools_cli.datasets.annotations.table import read

    rows, _ = read(file, "labels")
    annotations = validate(rows, data.items, known, data.root, what=str(file))
    good = dict(zip(annotations.rows.tolist(), annotations.labels, strict=True))
    marks: dict[int, Mark] = {}
    others, batch = [], set(indices)
    for row, image in zip(rows, find(rows, data.items, data.root), strict=True):
        if isinstance(image, str) or image not in batch:
            others.append(["", row.index, row.path, row.label, str(int(row.skipped))])
            continue
        # An unknown label is kept until the annotator chooses a class.
        label = good.get(image, "" if annotations.means.get(row.label) == "" else row.label)
        if image not in marks or label:
            marks[image] = Mark(label, row.skipped and not label)
    return ReadMarks(marks, others, [str(problem) for problem in annotations.problems])


def write_marks(
    file: Path, indices: Sequence[int], paths: Sequence[str], marks: Sequence[Mark], others: Sequence[Sequence[str]]
) -> None:
    """Write a row for every image of a batch, in order, and then the rows of other images; atomically."""
    rows = (
        (order, index, path, mark.label, int(mark.skipped))
        for order, (index, path, mark) in enumerate(zip(indices, paths, marks, strict=True))
    )
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator="\n").writerows([COLUMNS, *rows, *others])
    write_text(file, stream.getvalue())


def stamp(file: Path) -> tuple[int, int]:
    """Return a stamp that changes when a file is written."""
    status = file.stat()
    return status.st_mtime_ns, status.st_ino
