"""The columns of a table that hold embeddings, and the one that holds ids."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from initpools_cli.core.errors import UserError
from initpools_cli.datasets.embedding_formats.stored import NAMES, NO_IDS, USUAL, no_id_column

#: A column that is one dimension: ``embedding_0``, ``pca12``, ``7``.
NUMBERED = re.compile(r"(?P<prefix>.*?)(?P<number>[0-9]{1,9})")
INDEX = "__index_level_0__"
#: Kinds of columns.
NUMBER, LIST, TEXT, OTHER = "number", "list", "text", "other"


def vector_columns(path: Path | str, kinds: Mapping[str, str], member: str = "") -> list[str]:
    """Return the column of lists with the embeddings, or the numbered columns, in the order of their numbers.

    Parameters
    ----------
    path : Path or str
        The table, for messages.
    kinds : mapping of str to str
        What each column holds: "number", "list", "text" or "other".
    member : str
        From the user: the column of lists, or what the names of the columns begin with.

    Raises
    ------
    UserError
        There is none, there are several, or a number is missing.
    """
    series: dict[str, dict[int, str]] = defaultdict(dict)
    for name, kind in kinds.items():
        match = NUMBERED.fullmatch(name)
        if match and kind == NUMBER:
            series[match["prefix"]][int(match["number"])] = name
    groups = {prefix: columns for prefix, columns in series.items() if len(columns) > 1}
    lists = [name for name, kind in kinds.items() if kind == LIST]
    if member:
        if member not in lists and member not in groups:
            raise UserError(
                f"{path} has no column of lists '{member}' and no columns {member}0, {member}1, …, only "
                f"{format_names(kinds)}.",
                f"Name a column of lists, or what the numbered columns begin with: {path}:NAME.",
                member,
            )
        return [member] if member in lists else _in_order(path, member, groups[member])
    candidates = [*lists, *(prefix for prefix in groups if prefix not in lists)]
    usual = [name for name in candidates if name.lower().rstrip("_-. ") in USUAL]
    if len(candidates) > 1 and len(usual) != 1:
        examples = ", ".join(name if name in lists else f"{name}0 …" for name in candidates[:10])
        raise UserError(
            f"{path} has several columns that may be the embeddings: {examples}.",
            f"Name them: {path}:{candidates[0]}.",
            path,
        )
    if not candidates:
        raise UserError(
            f"{path} has no column of lists and no numbered columns (embedding_0, embedding_1, …), only "
            f"{format_names(kinds)}.",
            "Save the embeddings as one column of lists, or as one numbered column for each dimension.",
            path,
        )
    column = usual[0] if len(candidates) > 1 else candidates[0]
    return [column] if column in lists else _in_order(path, column, groups[column])


def _in_order(path: Path | str, prefix: str, columns: Mapping[int, str]) -> list[str]:
    first = min(columns)
    missing = next((number for number in range(first, max(columns)) if number not in columns), None)
    if first > 1 or missing is not None:
        wrong = f"{prefix}{missing if missing is not None and first <= 1 else 0}"
        raise UserError(
            f"{path} has {len(columns)} columns {columns[first]} to {columns[max(columns)]}, but no column {wrong}.",
            "Number the columns of the embeddings from 0 without gaps, and rename other ones.",
            wrong,
        )
    return [columns[number] for number in sorted(columns)]


def id_column_of(path: Path | str, kinds: Mapping[str, str], vectors: Sequence[str], id_column: str = "") -> str:
    """Return the column of ids; empty if there is none.

    Raises
    ------
    UserError
        `id_column` is not a column.
    """
    if id_column in kinds:
        return id_column
    if id_column and id_column != NO_IDS:
        raise no_id_column(Path(path), id_column, list(kinds))
    others = {name.strip().lower(): name for name, kind in kinds.items() if kind in (TEXT, NUMBER)}
    vector_names = {*vectors}
    # pandas stores an index without a name in this column.
    names = [*NAMES, *([INDEX] if kinds.get(INDEX) == TEXT else [])]
    return "" if id_column else next((others[n] for n in names if n in others and others[n] not in vector_names), "")


def format_names(kinds: Mapping[str, str]) -> str:
    """Format the names of up to 20 columns."""
    names = list(kinds)
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "") or "no columns"
