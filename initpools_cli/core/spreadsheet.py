"""Text in tables that spreadsheets open: cells that a spreadsheet would run as a formula get an apostrophe."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from initpools_cli.core.files import write_frame

if TYPE_CHECKING:
    import pandas as pd

#: Starts of a formula in Excel, LibreOffice or Google Sheets; the last four are the full-width signs of East Asia.
_START = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def escaped(text: str) -> str:
    """Put an apostrophe before text that a spreadsheet would run; numbers such as ``-1`` and other text are unchanged.

    Text that begins with apostrophes and then like a formula gets another one, for `unescaped` to remove.
    """
    return f"'{text}" if _runs(text) else text


def unescaped(text: str) -> str:
    """Undo `escaped`."""
    return text[1:] if text.startswith("'") and _runs(text[1:]) else text


def _runs(text: str) -> bool:
    return _START.match(text) is not None and not _NUMBER.fullmatch(text)


def write_table(path: Path, frame: pd.DataFrame) -> None:
    """Write a data frame for people as .csv, atomically; see `safe_table`."""
    write_frame(path, safe_table(frame))


def safe_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a data frame with its columns of text `escaped`; columns of numbers are unchanged."""
    return frame.apply(lambda column: column.map(_cell) if _is_text(column) else column)


def escaped_cells(row: Iterable[object]) -> list[object]:
    """Return the cells of a row for people; texts are `escaped`."""
    return [_cell(value) for value in row]


def _cell(value: object) -> object:
    return escaped(value) if isinstance(value, str) else value


def _is_text(column: pd.Series) -> bool:
    from pandas.api.types import is_object_dtype, is_string_dtype

    return is_object_dtype(column) or is_string_dtype(column)
