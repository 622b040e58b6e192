"""Data frames of pandas, polars and Arrow as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.datasets.embedding_formats.parquet import kinds_of, rows_of
from initpools_cli.datasets.embedding_formats.stored import NAMES
from initpools_cli.datasets.embedding_formats.vector_columns import NUMBER, vector_columns


def is_frame(value: Any) -> bool:
    """Whether a value is a data frame."""
    return hasattr(value, "columns") and hasattr(value, "__arrow_c_stream__")


def array_of_frame(name: str, frame: Any) -> np.ndarray:
    """Return the embeddings in a data frame, (n, d): its column of lists, its numbered columns, or all of them.

    All columns are taken if they are numbers and none has a name of ids.

    Parameters
    ----------
    name : str
        The argument, for messages.
    frame : pandas.DataFrame, polars.DataFrame or pyarrow.Table

    Raises
    ------
    UserError
        There is no such column, values are missing, or lists differ in length.
    """
    import pyarrow as pa

    try:
        # The index of pandas is no column.
        table = pa.Table.from_pandas(frame, preserve_index=False) if hasattr(frame, "iloc") else pa.table(frame)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise UserError(
            f"{name} is a data frame that can't be read: {str(error).splitlines()[0]:.200}.",
            f"Pass the columns of {name} as an array.",
            name,
        ) from None
    kinds = kinds_of(table.schema)
    all_numbers = {*kinds.values()} == {NUMBER} and not any(column.lower() in NAMES for column in kinds)
    vectors = list(kinds) if all_numbers else vector_columns(name, kinds)
    columns = [table.column(column).combine_chunks() for column in vectors]
    if kinds[vectors[0]] == NUMBER:
        return rows_of(name, columns, len(vectors), 0, vectors)
    width = len(columns[0][0].as_py() or ()) if len(table) else 0
    return rows_of(name, columns, width, 0, vectors)
