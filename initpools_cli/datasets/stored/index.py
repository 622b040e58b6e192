"""Indices of shards: where each image is. They are made once for each shard, and cached."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import atomic_file
from initpools_cli.datasets.stored.shards import Shard

#: Version of the table of an index; part of every key.
VERSION = 1

#: A table of the columns ``image`` (string), ``start`` and ``size`` (int64) and, with labels, ``label``.
Index = Any


def indexed(file: Path, name: str, settings: tuple[str, ...], cache: Path, make: Callable[[], Index]) -> Shard:
    """Return a shard, with its index from the cache if it has not changed since by size, time and name.

    Parameters
    ----------
    file : Path
    name : str
        The path of the shard below the folder of the data set.
    settings : tuple of str
        What else the index depends on, such as the columns to read.
    cache : Path
        Folder of downloads and arrays.
    make : callable
        Makes the index.
    """
    import pyarrow
    import pyarrow.parquet

    status = file.stat()
    key = json.dumps([VERSION, str(file.resolve()), status.st_size, status.st_mtime_ns, *settings])
    cache_file = cache / "shards" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.parquet"
    try:
        table = pyarrow.parquet.read_table(cache_file)
    except (OSError, pyarrow.ArrowException):
        table = make()
        # A shared cache may be read-only; then the shard is only read again.
        with contextlib.suppress(UserError), atomic_file(cache_file) as stream:
            pyarrow.parquet.write_table(table, stream)
    labels = _values(table["label"]) if "label" in table.column_names else np.empty(0)
    starts, sizes = (table[column].to_numpy().astype(np.int64) for column in ("start", "size"))
    return Shard(file, name, table["image"].to_pylist(), starts, sizes, labels)


def _values(column: Any) -> np.ndarray:
    """Return labels as numbers, with NaN for null if there is any, or as strings, with "" for null."""
    import pyarrow

    if pyarrow.types.is_string(column.type) or pyarrow.types.is_large_string(column.type):
        return np.array(["" if each is None else each for each in column.to_pylist()], dtype=str)
    return np.asarray(column.to_numpy())
