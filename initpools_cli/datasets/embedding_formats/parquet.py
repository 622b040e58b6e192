"""Parquet: a column of lists, or one numbered column for each dimension."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import require_file
from initpools_cli.datasets.embedding_formats.stored import BLOCK_BYTES, SCALES, StoredEmbeddings, damaged_error
from initpools_cli.datasets.embedding_formats.vector_columns import (
    LIST,
    NUMBER,
    OTHER,
    TEXT,
    id_column_of,
    vector_columns,
)

KIND = "a parquet file"
#: Key of the schema's metadata with the checksum of the encoder.
ENCODER = b"encoder"


def read(path: Path, member: str = "", id_column: str = "") -> StoredEmbeddings:
    """Open a table of embeddings.

    Raises
    ------
    UserError
        The file is damaged, or has no column of embeddings.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    require_file(path, "embeddings")
    try:
        with pq.ParquetFile(path) as file:
            schema, count = file.schema_arrow, file.metadata.num_rows
            _refuse_repeated(path, schema.names)
            kinds = kinds_of(schema)
            vectors = vector_columns(path, kinds, member)
            ids_column = id_column_of(path, kinds, vectors, id_column)
            ids = file.read(columns=[ids_column]).column(0).to_pylist() if ids_column else None
            width = len(vectors) if kinds[vectors[0]] == NUMBER else _width(file, vectors[0])
    except (pa.ArrowException, OSError, ValueError) as error:
        raise damaged_error(path, KIND, error) from None
    dtypes = [value_type(schema.field(name).type) for name in vectors]
    scale = next((each for each in SCALES if kinds.get(each) == NUMBER), "") if dtypes[0] == np.int8 else ""
    dtype = np.dtype(np.float32) if scale else np.result_type(*dtypes)
    return StoredEmbeddings(
        (count, width),
        dtype,
        None,
        lambda: _blocks(path, vectors, width, dtype, scale),
        ids,
        f"column '{ids_column}'" if ids_column else "",
        (schema.metadata or {}).get(ENCODER, b"").decode(errors="replace"),
        f"int8 times column '{scale}' is float32" if scale else "",
    )


def _refuse_repeated(path: Path, names: list[str]) -> None:
    duplicate = next((name for name, count in Counter(names).items() if count > 1), None)
    if duplicate is not None:
        raise UserError(f"{path} has several columns '{duplicate}'.", "Rename all but one of them.", duplicate)


def kinds_of(schema: Any) -> dict[str, str]:
    """Return what the columns of an Arrow schema hold, by name; see `vector_columns`."""
    return {field.name: _kind(field.type) for field in schema}


def _kind(kind: Any) -> str:
    import pyarrow as pa

    if pa.types.is_floating(kind) or pa.types.is_integer(kind):
        return NUMBER
    if pa.types.is_dictionary(kind):
        return _kind(kind.value_type)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return TEXT
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return LIST if is_list and _kind(kind.value_type) == NUMBER else OTHER


def value_type(kind: Any) -> np.dtype:
    """Return the NumPy type of the values of a column of numbers, or of lists of them."""
    return np.dtype(getattr(kind, "value_type", kind).to_pandas_dtype())


def _width(file: Any, column: str) -> int:
    """Return the length of the first list."""
    kind = file.schema_arrow.field(column).type
    if hasattr(kind, "list_size"):
        return int(kind.list_size)
    first = next(file.iter_batches(1, columns=[column]), None)
    return len(first.column(0)[0].as_py() or ()) if first is not None and len(first) else 0


def _blocks(path: Path, columns: list[str], width: int, dtype: np.dtype, scale: str) -> Iterator[np.ndarray]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = max(1, BLOCK_BYTES // max(1, 8 * width))
    start = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(rows, columns=[*columns, *([scale] if scale else [])]):
                block = rows_of(path, [batch.column(name) for name in columns], width, start, columns)
                if scale:
                    factor = batch.column(scale).to_numpy(zero_copy_only=False).astype(np.float32)
                    block = block.astype(np.float32) * factor[:, None]
                start += len(block)
                yield np.ascontiguousarray(block, dtype)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise damaged_error(path, KIND, error) from None


def rows_of(path: Path | str, columns: list[Any], width: int, start: int, names: list[str]) -> np.ndarray:
    """Return Arrow arrays as an array of rows, (n, width).

    Parameters
    ----------
    columns : list of pyarrow.Array
        One of lists, or one for each dimension.
    start : int
        The number of their first row, for messages.
    names : list of str
        Their names, for messages.

    Raises
    ------
    UserError
        A value is missing, or lists differ in length.
    """
    import pyarrow.compute as pc

    if _kind(columns[0].type) == NUMBER:
        for name, column in zip(names, columns, strict=True):
            _refuse_missing(path, column, start, name)
        return np.column_stack([column.to_numpy(zero_copy_only=False) for column in columns])
    _refuse_missing(path, columns[0], start, names[0])
    lengths = pc.list_value_length(columns[0]).to_numpy(zero_copy_only=False)
    other = np.flatnonzero(lengths != width)
    if len(other):
        raise UserError(
            f"{path} has {lengths[other[0]]} values in '{names[0]}' of row {start + other[0]}, but {width} in row 0.",
            "Save vectors of the same length for all images.",
            start + other[0],
        )
    flat = columns[0].flatten()
    if flat.null_count:
        row = start + int(np.flatnonzero(flat.is_null().to_numpy(zero_copy_only=False))[0]) // max(1, width)
        raise _missing(path, row, names[0])
    values: np.ndarray = flat.to_numpy(zero_copy_only=False).reshape(len(columns[0]), width)
    return values


def _refuse_missing(path: Path | str, column: Any, start: int, name: str) -> None:
    if column.null_count:
        raise _missing(path, start + int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0]), name)


def _missing(path: Path | str, row: int, name: str) -> UserError:
    return UserError(
        f"{path} has no value in '{name}' of row {row}.", "Compute the embedding of that image, or leave it out.", row
    )
