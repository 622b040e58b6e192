"""Whether a file that may hold embeddings has images: encoded ones in parquet, or paths of image files in a table."""

from __future__ import annotations

import csv
from pathlib import Path

from initpools_cli.datasets.annotations.rows import LABEL_NAMES, LABELS_NAMES, PATH_NAMES
from initpools_cli.datasets.stored.find import find_shards, is_pattern
from initpools_cli.datasets.stored.parquet import has_images

#: Columns of a table of paths; any other is one of embeddings.
COLUMNS = {*PATH_NAMES, *LABEL_NAMES, *LABELS_NAMES, "split", "group", "index"}


def holds_images(path: Path) -> bool:
    """Whether a .parquet file or pattern has a column of bytes, or a .csv file has paths and no other numbers."""
    suffix = path.suffix.lower()
    if suffix == ".parquet" and (path.is_file() or (is_pattern(path) and any(path.parent.glob(path.name)))):
        return has_images(find_shards(path)[0])
    return suffix == ".csv" and path.is_file() and _names_paths(path)


def _names_paths(path: Path) -> bool:
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
        first = stream.readline(1 << 16)
    separator = max(",;\t|", key=first.count)
    columns = {cell.strip().lower() for cell in next(csv.reader([first], delimiter=separator), [])}
    return not columns.isdisjoint(PATH_NAMES) and columns <= COLUMNS
