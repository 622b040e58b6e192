"""Tables of items of folders: their rows, labels and groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from initpools_cli.core.reporter import Reporter
from initpools_cli.datasets.arrays import table_of
from initpools_cli.datasets.decode import DecodedFiles
from initpools_cli.datasets.groups import GROUP_NAMES, NONE, read_groups, summary
from initpools_cli.datasets.item_labels import label_columns
from initpools_cli.datasets.multilabel import labels_of_texts
from initpools_cli.datasets.scale import Scale
from initpools_cli.datasets.sources import Files
from initpools_cli.datasets.spec import COLUMNS, CONVERSION, GROUP, SPLITS, DatasetSpec

if TYPE_CHECKING:
    import pandas as pd


#: Default side of the images of a folder, pixels.
DEFAULT_SIZE = 64


@dataclass(frozen=True)
class Storage:
    """Cache folder, scratch folder and reporter for opening a folder."""

    cache: Path
    scratch: Path
    report: Reporter


@dataclass(frozen=True)
class OpenedFiles:
    """Items, class names, memory-mapped arrays by split, notes and scale of an opened folder; maybe several labels."""

    items: pd.DataFrame
    classes: tuple[str, ...]
    arrays: dict[str, np.ndarray]
    notes: list[str]
    scale: Scale
    multilabel: bool = False


def side_of(spec: DatasetSpec) -> int:
    """Return the side of the cached images of a folder, pixels."""
    return spec.size or DEFAULT_SIZE


def groups_of(source: Files, groups: str, paths: Sequence[str], notes: list[str]) -> list[str] | None:
    """Return the group of each image, as set or from the table of the data set, and add notes; None without groups."""
    import pandas as pd

    if groups == NONE or not (groups or source.groups):
        return None
    how, column = (groups, None) if groups or source.groups is None else source.groups
    images = pd.DataFrame({"index": -1, "path": list(paths), "split": "train"})
    image_groups = read_groups(how, images, source.root, columns=GROUP_NAMES if column is None else (column,))
    notes += [*image_groups.notes, f"groups{f' ({column})' if column else ''}: {summary(image_groups.names)}"]
    return image_groups.names


def items_of(
    members: Mapping[str, np.ndarray],
    paths: Sequence[str],
    labels: np.ndarray,
    classes: tuple[str, ...],
    decoded_files: DecodedFiles,
    groups: Sequence[str] | None,
) -> pd.DataFrame:
    """Return the table of decoded images.

    Parameters
    ----------
    members : mapping of str to (m,) int64
        Images of each split, in the numbering of `paths`.
    paths, labels, classes, groups
        Of all images; labels are numbers of classes, see `class_numbers`.
    decoded_files : DecodedFiles
    """
    columns: dict[str, list[object]] = {
        name: [] for name in (*COLUMNS, CONVERSION, *([] if groups is None else [GROUP]))
    }
    numbers, names = label_columns(labels, classes)
    for split, rows in members.items():
        for index, row in enumerate(rows):
            file_facts = decoded_files.nbytes[row], decoded_files.sha256[row], decoded_files.conversions[row]
            group = [] if groups is None else [groups[row]]
            values = (index, paths[row], split, numbers[row], names[row], *file_facts, *group)
            for column, value in zip(columns, values, strict=True):
                columns[column].append(value)
    return table_of(columns)


def class_numbers(names: Sequence[str], classes: Sequence[str], *, multilabel: bool) -> np.ndarray:
    """Return the class numbers (n,) int64, or with several labels per image (n, c) int8; -1 for the empty name."""
    if multilabel:
        return labels_of_texts(names, classes)
    number = {name: c for c, name in enumerate(classes)}
    return np.array([number[name] if name else -1 for name in names], dtype=np.int64)


def split_sizes(items: pd.DataFrame) -> dict[str, int]:
    """Return the number of images of each split."""
    sizes = items["split"].value_counts()
    return {split: int(sizes[split]) for split in SPLITS if split in sizes}
