"""Files of labels, one row an image of a batch: read as people leave them, written whole."""

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
    """What is said of an image: its class (empty: none yet), or that it was passed over."""

    label: str = ""
    skipped: bool = False


@dataclass(frozen=True)
class ReadMarks:
    """What a file says.

    Attributes
    ----------
    marks : dict of int to Mark
        Of images of the batch, by train row.
    others : list of list of str
        The rows of other images, or of none that is known, under `COLUMNS`.
    problems : list of str
        What is wrong with single lines.
    """

    marks: dict[int, Mark]
    others: list[list[str]]
    problems: list[str]


def read_marks(file: Path, data: Dataset, indices: Sequence[int], known: KnownClasses) -> ReadMarks:
    """What a file of labels says of a batch: columns in any order, as spreadsheets save them.

    Parameters
    ----------
    indices : sequence of int
        The train rows of the batch.
    known : KnownClasses
        The classes there are.

    Raises
    ------
    UserError
        It can't be read as a table of labels, or has classes that nobody can tell apart.
    """
    from initpools_cli.datasets.annotations.check import checked
    from initpools_cli.datasets.annotations.match import find
    from initpools_cli.datasets.annotations.table import read

    rows, _ = read(file, "labels")
    annotations = checked(rows, data.items, known, data.root, what=str(file))
    good = dict(zip(annotations.rows.tolist(), annotations.labels, strict=True))
    marks: dict[int, Mark] = {}
    others, batch = [], set(indices)
    for row, found in zip(rows, find(rows, data.items, data.root), strict=True):
        if isinstance(found, str) or found not in batch:
            others.append(["", row.index, row.path, row.label, str(int(row.skipped))])
            continue
        # A label that is no class stays in the file until another is chosen.
        label = good.get(found, "" if annotations.means.get(row.label) == "" else row.label)
        if found not in marks or label:
            marks[found] = Mark(label, row.skipped and not label)
    return ReadMarks(marks, others, [str(problem) for problem in annotations.problems])


def write_marks(
    file: Path, indices: Sequence[int], paths: Sequence[str], marks: Sequence[Mark], others: Sequence[Sequence[str]]
) -> None:
    """Write a row for every image of a batch in its order, and then the rows of others; whole or not at all."""
    rows = (
        (order, index, path, mark.label, int(mark.skipped))
        for order, (index, path, mark) in enumerate(zip(indices, paths, marks, strict=True))
    )
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator="\n").writerows([COLUMNS, *rows, *others])
    write_text(file, stream.getvalue())


def stamp(file: Path) -> tuple[int, int]:
    """What differs once somebody has written to a file."""
    status = file.stat()
    return status.st_mtime_ns, status.st_ino
