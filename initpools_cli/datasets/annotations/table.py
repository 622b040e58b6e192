"""Tables, as spreadsheets save them: any of the usual encodings, separators and line ends."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import read_file
from initpools_cli.datasets.annotations.rows import INDEX_NAMES, LABEL_NAMES, PATH_NAMES, SKIPPED_NAMES, Row

SEPARATORS = ",;\t|"
YES = {"yes", "true", "1", "x"}


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes
    ----------
    columns : list of str
        Lower case, without blanks around them.
    spaced : bool
        Whether a space follows every separator of the header: it belongs to the separator, and to no cell.
    lines : list of (int, list of str)
        Every line that is not blank, with its number in the file.
    notes : list of str
        What was guessed of the file, for the user.
    """

    columns: list[str]
    lines: list[tuple[int, list[str]]]
    notes: list[str] = field(default_factory=list)
    spaced: bool = False

    def place_of(self, names: Sequence[str]) -> int | None:
        """The first column of one of these names."""
        return next((self.columns.index(name) for name in names if name in self.columns), None)


def read_table(path: Path, what: str) -> Table:
    """A table with its header.

    Parameters
    ----------
    path : Path
        UTF-8 with or without a byte-order mark, UTF-16 with one, or else Windows-1252; separated by commas, semicolons,
        tabs or bars.
    what : str
        What the user gave it as, for messages.

    Raises
    ------
    UserError
        No such file, nothing in it, or no table of text.
    """
    text, notes = _decoded(read_file(path, what), path, what)
    first = next((line for line in re.split(r"[\r\n]+", text) if line.strip()), "")
    # Excel's way to say which separator follows.
    declared = re.fullmatch(r'sep=([^"\s]|\t)\s*', first, re.IGNORECASE)
    # Those inside a quoted name separate nothing.
    header = re.sub(r'"[^"]*"', "", first)
    separator = declared[1] if declared else max(SEPARATORS, key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        lines = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise _no_table(path, what, f"line {reader.line_num}: {error}") from None
    lines = lines[1:] if declared else lines
    if not lines:
        raise _no_table(path, what, "nothing is in it")
    header_cells = lines[0][1]
    columns = [cell.strip().lower() for cell in header_cells]
    spaced = len(columns) > 1 and all(cell.startswith(" ") for cell in header_cells[1:])
    return Table(columns, lines[1:], notes, spaced)


def read(path: Path, what: str, *, with_labels: bool = True) -> tuple[list[Row], list[str]]:
    """The annotations of a table, and what the user should be told of it.

    Parameters
    ----------
    with_labels : bool
        Whether there has to be a column of classes.

    Raises
    ------
    UserError
        It is no table, or has no column that names images, or classes.
    """
    table = read_table(path, what)
    index, place, label, skipped = (
        table.place_of(names) for names in (INDEX_NAMES, PATH_NAMES, LABEL_NAMES, SKIPPED_NAMES)
    )
    has = ", ".join(table.columns)
    if index is None and place is None:
        raise UserError(f"{path} ({what}) has neither a column 'index' nor 'path', only {has}.", "Add one of them.")
    if label is None and with_labels:
        raise UserError(f"{path} ({what}) has no column 'label', only {has}.", "Name the column of classes 'label'.")
    width, rows = len(table.columns), []
    for number, cells in table.lines:
        # Spreadsheets leave out the empty cells at the end of a line.
        surplus = sum(bool(cell.strip()) for cell in cells[width:])
        problem = f"has {len(cells)} cells, and the header {width}: is there a separator inside one?" if surplus else ""
        name, count, kind, passed = (
            cells[at] if at is not None and at < len(cells) else "" for at in (place, index, label, skipped)
        )
        kind = kind.removeprefix(" ") if table.spaced else kind
        # The name of a file may end in a blank.
        rows.append(Row(f"line {number}", name, count.strip(), kind, "", problem, passed.strip().lower() in YES))
    return rows, table.notes


def _decoded(content: bytes, path: Path, what: str) -> tuple[str, list[str]]:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return content.decode("utf-16"), []
        except UnicodeDecodeError as error:
            raise _no_table(path, what, str(error)) from None
    if b"\0" in content:
        raise _no_table(path, what, "it holds bytes that no text has")
    try:
        return content.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        note = f"{path} is not UTF-8 and was read as Windows-1252: check names with accents."
        return content.decode("cp1252", errors="replace"), [note]


def _no_table(path: Path, what: str, why: str) -> UserError:
    return UserError(f"{path} ({what}) can't be read as a table: {why}.", "Save it as a .csv in UTF-8 with commas.")
