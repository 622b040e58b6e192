"""CSV: one numbered column for each dimension, such as the files of lightly and lightly-train."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import require_file
from initpools_cli.datasets.annotations.table import SEPARATORS
from initpools_cli.datasets.embedding_formats.parquet import rows_of
from initpools_cli.datasets.embedding_formats.stored import BLOCK_BYTES, StoredEmbeddings, damaged_error
from initpools_cli.datasets.embedding_formats.vector_columns import NUMBER, id_column_of, vector_columns

KIND = "a CSV file in UTF-8"
#: The longest header that is read, characters.
LONGEST_HEADER = 4 << 20


def read(path: Path, member: str = "", id_column: str = "") -> StoredEmbeddings:
    """Open a table with a column for each dimension; values become float32.

    Raises
    ------
    UserError
        The file is damaged, has no numbered columns, or a cell that is not a number.
    """
    require_file(path, "embeddings")
    columns, separator = _header(path)
    kinds = dict.fromkeys(columns, NUMBER)
    vectors = vector_columns(path, kinds, member)
    ids_column = id_column_of(path, kinds, vectors, id_column)
    ids, count = _first_pass(path, columns, separator, ids_column or vectors[0], bool(ids_column))
    return StoredEmbeddings(
        (count, len(vectors)),
        np.dtype(np.float32),
        None,
        lambda: _blocks(path, columns, vectors, separator),
        ids,
        f"column '{ids_column}'" if ids_column else "",
    )


def _header(path: Path) -> tuple[list[str], str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            line = stream.readline(LONGEST_HEADER).rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not a text in UTF-8: byte {error.start} is {error.object[error.start]:#04x}.",
            "Save it as CSV in UTF-8.",
            path,
        ) from None
    if len(line) >= LONGEST_HEADER:
        raise damaged_error(
            path, KIND, ValueError(f"its first line has more than {LONGEST_HEADER >> 20} million characters")
        )
    separator = max(SEPARATORS, key=line.count)
    try:
        columns = [name.strip() for name in next(csv.reader([line], delimiter=separator), [])]
    except csv.Error as error:
        raise damaged_error(path, KIND, error) from None
    # Columns without a name are those of row numbers.
    columns = [name or f" {number}" for number, name in enumerate(columns)]
    duplicate = next((name for name, count in Counter(columns).items() if count > 1), None)
    if duplicate is not None:
        raise UserError(f"{path} has several columns '{duplicate}'.", "Rename all but one of them.", duplicate)
    if not columns:
        raise UserError(f"{path} is empty: it has no header.", "Save it again with a header.", path)
    return columns, separator


def _batches(path: Path, names: list[str], separator: str, kinds: dict[str, Any]) -> Iterator[Any]:
    """Yield the columns in `kinds` in record batches, with their Arrow types."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    try:
        with arrow_csv.open_csv(
            path,
            arrow_csv.ReadOptions(column_names=names, skip_rows=1, block_size=BLOCK_BYTES),
            arrow_csv.ParseOptions(delimiter=separator),
            arrow_csv.ConvertOptions(
                include_columns=[*kinds], column_types=kinds, null_values=[""], strings_can_be_null=False
            ),
        ) as reader:
            yield from reader
    except pa.ArrowInvalid as error:
        # A file without rows is no error of the format.
        if "Empty CSV" not in str(error):
            raise damaged_error(path, KIND, error) from None
    except (pa.ArrowException, OSError) as error:
        raise damaged_error(path, KIND, error) from None


def _first_pass(
    path: Path, columns: list[str], separator: str, column: str, as_ids: bool
) -> tuple[list[str] | None, int]:
    """Return the ids, if the column is that of ids, and the number of rows."""
    import pyarrow as pa

    ids: list[str] = []
    count = 0
    for batch in _batches(path, columns, separator, {column: pa.string()}):
        count += len(batch)
        if as_ids:
            ids.extend(batch.column(0).to_pylist())
    return (ids if as_ids else None), count


def _blocks(path: Path, columns: list[str], vectors: list[str], separator: str) -> Iterator[np.ndarray]:
    import pyarrow as pa

    start = 0
    for batch in _batches(path, columns, separator, dict.fromkeys(vectors, pa.float64())):
        values = rows_of(path, batch.columns, len(vectors), start, vectors)
        with np.errstate(over="ignore"):
            block = np.ascontiguousarray(values, np.float32)
        overflows = np.argwhere(np.isinf(block) & np.isfinite(values))
        if len(overflows):
            row, at = overflows[0].tolist()
            raise UserError(
                f"{path} contains {values[row, at]} in row {start + row}, column '{vectors[at]}', which is too large "
                "for float32.",
                "Scale the embeddings to values below 1e15.",
                values[row, at],
            )
        start += len(block)
        yield block
