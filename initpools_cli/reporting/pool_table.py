"""Pools as files of indices or tables: `-o` of `select-pool` and `--next` of `al-run`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import write_array, write_text
from initpools_cli.core.spreadsheet import write_table

if TYPE_CHECKING:
    import pandas as pd

#: File endings that `write_pool` supports.
FORMATS = (".npy", ".csv", ".json")


def write_pool(rows: pd.DataFrame, path: Path) -> None:
    """Write a pool as .npy (indices), .csv or .json (all columns), chosen by the ending of `path`.

    Raises
    ------
    UserError
        The file exists and has labels that would be lost.
    """
    refuse_losing_labels(path, rows)
    match path.suffix.lower():
        case ".npy":
            write_array(path, rows["index"].to_numpy(np.int64))
        case ".csv":
            write_table(path, rows)
        case _:
            write_text(path, encoded(records(rows)).decode())


def refuse_losing_labels(path: Path, rows: pd.DataFrame) -> None:
    """Refuse to overwrite a table that has labels which `rows` does not have.

    Raises
    ------
    UserError
        With the number of labels.
    """
    from initpools_cli.datasets.annotations import cvat, label_studio, table
    from initpools_cli.datasets.classes import plain, says_nothing

    reader = {".csv": table.read, ".json": label_studio.read, ".xml": cvat.read}.get(path.suffix.lower())
    if reader is None or not path.is_file():
        return
    try:
        existing, _ = reader(path, "-o")
    except UserError:
        # The file is not a pool.
        return
    labels = rows["label"].tolist()
    by_index = dict(zip(rows["index"].astype(str), labels, strict=True))
    by_path = dict(zip(rows["path"], labels, strict=True)) if "path" in rows else {}
    count = 0
    for row in existing:
        new = by_index.get(row.index) if row.index else by_path.get(row.path)
        count += not says_nothing(row.label) and new != plain(row.label)
    if count:
        raise UserError(
            f"{path} has {count} labels that would be overwritten.", "Move the file away, or name another file.", path
        )


def records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Convert rows to dictionaries of column to value; missing and infinite values become None."""
    finite = rows.notna() & ~rows.isin([np.inf, -np.inf])
    values = rows.astype(object).where(finite, None).to_numpy().tolist()
    return [dict(zip(rows.columns, row, strict=True)) for row in values]


def encoded(value: object) -> bytes:
    """Encode a value as indented JSON."""
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()
