"""Reader of tables as saved by spreadsheets, with any common encoding, separator and line end."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import read_file
from initpools_cli.core.spreadsheet import unescaped
from initpools_cli.datasets.annotations.rows import (
    ANNOTATOR_NAMES,
    ID_NAMES,
    INDEX_NAMES,
    LABEL_NAMES,
    LABELS_NAMES,
    PATH_NAMES,
    PREDICTION,
    SKIPPED_NAMES,
    SOURCE_NAMES,
    Details,
    Row,
)

SEPARATORS = ",;\t|"
YES = {"yes", "true", "1", "x"}


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes
    ----------
    columns : list of str
        Lower case, without surrounding spaces.
    spaced : bool
        Whether each separator of the header is followed by a space, which then belongs to the separator.
    lines : list of (int, list of str)
        Lines that are not blank, with their numbers in the file.
    notes : list of str
        Notes for the user.
    """

    columns: list[str]
    lines: list[tuple[int, list[str]]]
    notes: list[str] = field(default_factory=list)
    spaced: bool = False

    def place_of(self, names: Sequence[str]) -> int | None:
        """Return the first column with one of these names."""
        return next((self.columns.index(name) for name in names if name in self.columns), None)


def read_table(path: Path, what: str) -> Table:
    """Read a table with its header.

    Parameters
    ----------
    path : Path
        UTF-8 with or without a byte-order mark, UTF-16 with one, or else Windows-1252; separated by commas, semicolons,
        tabs or bars.
    what : str
        The option that names the file, for messages.

    Raises
    ------
    UserError
        The file is missing, empty, or not a text table.
    """
    text, notes = decoded(read_file(path, what), path, what)
    first = next((line for line in re.split(r"[\r\n]+", text) if line.strip()), "")
    # Excel declares the separator in a first line like this.
    declaration = re.fullmatch(r'sep=([^"\s]|\t)\s*', first, re.IGNORECASE)
    # Separators inside quoted names do not count.
    header = re.sub(r'"[^"]*"', "", first)
    separator = declaration[1] if declaration else max(SEPARATORS, key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        lines = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise _no_table(path, what, f"line {reader.line_num}: {error}") from None
    lines = lines[1:] if declaration else lines
    if not lines:
        raise _no_table(path, what, "it is empty")
    header_cells = lines[0][1]
    columns = [cell.strip().lower() for cell in header_cells]
    spaced = len(columns) > 1 and all(cell.startswith(" ") for cell in header_cells[1:])
    return Table(columns, lines[1:], notes, spaced)


def read(path: Path, what: str, *, with_labels: bool = True) -> tuple[list[Row], list[str]]:
    """Read the annotations of a table, and notes for the user.

    Parameters
    ----------
    with_labels : bool
        Whether a column of classes is required.

    Raises
    ------
    UserError
        The file is not a table, or has no column of images or of classes.
    """
    table = read_table(path, what)
    index, place, label, skip_column = (
        table.place_of(names) for names in (INDEX_NAMES, PATH_NAMES, LABEL_NAMES, SKIPPED_NAMES)
    )
    has = ", ".join(table.columns)
    if index is None and place is None:
        # Last, since annotation tools number their tasks in a column of this name.
        place = table.place_of(ID_NAMES)
    if index is None and place is None:
        raise UserError(
            f"{path} ({what}) has neither a column 'index' nor 'path', only {has}.", "Add one of these columns.", path
        )
    multilabel = label is None and table.place_of(LABELS_NAMES) is not None
    label = table.place_of(LABELS_NAMES) if multilabel else label
    if label is None and with_labels:
        raise UserError(
            f"{path} ({what}) has no column 'label', only {has}.",
            "Name the column of classes 'label', or 'labels' if images have several.",
            path,
        )
    width, rows = len(table.columns), []
    extra, source = [table.place_of((name,)) for name in Details._fields], table.place_of(SOURCE_NAMES)
    by = table.place_of(ANNOTATOR_NAMES)
    for number, cells in table.lines:
        # Spreadsheets omit empty cells at the end of a line.
        surplus = sum(bool(cell.strip()) for cell in cells[width:])
        problem = (
            f"has {len(cells)} cells, but the header has {width}: quote cells that contain a separator"
            if surplus
            else ""
        )
        name, count, kind, skip_cell = (
            cells[at] if at is not None and at < len(cells) else "" for at in (place, index, label, skip_column)
        )
        kind = kind.removeprefix(" ") if table.spaced else kind
        # A file name may end with a space, so it is not stripped.
        name, kind = unescaped(name), unescaped(kind)
        if source is not None and source < len(cells) and cells[source] == PREDICTION:
            problem = problem or "is a prediction of the model, not a label"
        details = Details(*(unescaped(cells[at]).strip() if at is not None and at < len(cells) else "" for at in extra))
        skip = skip_cell.strip().lower() in YES
        annotator = unescaped(cells[by]).strip() if by is not None and by < len(cells) else ""
        row = Row(f"line {number}", name, count.strip(), kind, "", problem, skip, details, multilabel)
        rows.append(replace(row, annotator=annotator) if annotator else row)
    return rows, table.notes


def decoded(content: bytes, path: Path, what: str) -> tuple[str, list[str]]:
    """Return the text of a file with any common encoding, and notes for the user; see `read_table`."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return content.decode("utf-16"), []
        except UnicodeDecodeError as error:
            raise _no_table(path, what, str(error)) from None
    if b"\0" in content:
        raise _no_table(path, what, "it contains NUL bytes")
    try:
        return content.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        note = f"{path} is not UTF-8 and was read as Windows-1252: check names with accents."
        return content.decode("cp1252", errors="replace"), [note]


def _no_table(path: Path, what: str, why: str) -> UserError:
    return UserError(f"{path} ({what}) can't be read as a table: {why}.", "Save it as .csv in UTF-8 with commas.", path)
