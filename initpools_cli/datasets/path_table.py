"""Images named by a table: a CSV file with a column of paths, and maybe of labels and splits."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from initpools_cli.core.errors import UserError
from initpools_cli.core.spreadsheet import unescaped
from initpools_cli.core.wording import counted, named
from initpools_cli.datasets.annotations.rows import LABEL_NAMES, LABELS_NAMES, PATH_NAMES
from initpools_cli.datasets.annotations.table import Table, read_table
from initpools_cli.datasets.labels import assigner
from initpools_cli.datasets.sources import Assignment, Files
from initpools_cli.datasets.spec import DatasetSpec
from initpools_cli.datasets.splits import SPLIT_NAMES, require_train

WHAT = "--dataset"
TABLE = ".csv"
SPLIT_COLUMN = ("split",)


def is_table(path: Path) -> bool:
    """Whether a path is a table of paths, judged by its suffix."""
    return path.suffix.lower() == TABLE and path.is_file()


def read_path_table(file: Path, spec: DatasetSpec) -> Files:
    """Read the images of a CSV file with a column ``path``, and optionally ``label`` (or ``labels``) and ``split``.

    Parameters
    ----------
    file : Path
        Its paths are absolute, or relative to its folder.
    spec : DatasetSpec
        ``labels`` is "auto" for the labels of the table, "none", or another CSV file.

    Raises
    ------
    UserError
        There is no column of paths, a path is repeated or is not a file, or a split has an unknown name.
    """
    table = read_table(file, WHAT)
    paths = _paths(file, table)
    splits = _splits(file, table, paths)
    labeled = table.place_of((*LABEL_NAMES, *LABELS_NAMES)) is not None
    how = spec.labels if spec.labels != "auto" else str(file) if labeled else "none"
    assign = assigner(how, spec.classes, multilabel=spec.multilabel)

    def assign_splits(images: Sequence[str]) -> Assignment:
        assignment = assign(images)
        # An image of a run may have left the table.
        return replace(assignment, splits=[splits.get(path, "train") for path in images])

    return Files(file.parent, assign_splits, paths=tuple(paths))


def _paths(file: Path, table: Table) -> list[str]:
    place = table.place_of(PATH_NAMES)
    if place is None:
        raise UserError(
            f"{file} ({WHAT}) has no column 'path', only {', '.join(table.columns)}.",
            "Name the column with the path of each image 'path'.",
            file,
        )
    paths = [_cell(cells, place).replace("\\", "/").removeprefix("./") for _, cells in table.lines]
    if not paths:
        raise UserError(f"{file} ({WHAT}) names no images.", "Add one row for each image.", file)
    empty = [number for (number, _), path in zip(table.lines, paths, strict=True) if not path]
    if empty:
        raise UserError(
            f"{file}, line {empty[0]} has no path.", "Write the path of the image, or leave out the row.", empty[0]
        )
    duplicates = [path for path, count in Counter(paths).items() if count > 1]
    if duplicates:
        raise UserError(
            f"{file} ({WHAT}) names {counted(duplicates, 'image')} more than once: {named(duplicates)}.",
            "Keep one row for each image.",
            named(duplicates),
        )
    missing = [path for path in paths if not (file.parent / path).is_file()]
    if missing:
        raise UserError(
            f"{file} ({WHAT}) names {len(missing)} of {len(paths)} images that are not there: {named(missing)}.",
            f"Write paths relative to {os.fspath(file.parent)}, or absolute paths, and leave out rows without a file.",
            named(missing),
        )
    return paths


def _splits(file: Path, table: Table, paths: Sequence[str]) -> dict[str, str]:
    """Return the split of each image."""
    place = table.place_of(SPLIT_COLUMN)
    if place is None:
        return dict.fromkeys(paths, "train")
    splits = {}
    for (number, cells), path in zip(table.lines, paths, strict=True):
        name = _cell(cells, place)
        if name.lower() not in SPLIT_NAMES:
            raise UserError(
                f"{file}, line {number} has the split {name!r}.", "Write train, val or test in its place.", repr(name)
            )
        splits[path] = SPLIT_NAMES[name.lower()]
    require_train(splits.values(), str(file))
    return splits


def _cell(cells: Sequence[str], place: int) -> str:
    return unescaped(cells[place]).strip() if place < len(cells) else ""
