"""Export: a table as CSV."""

from __future__ import annotations

from typing import BinaryIO

from initpools_cli.core.spreadsheet import safe_table
from initpools_cli.reporting.exports.data import ExportData
from initpools_cli.reporting.exports.registry import exports


@exports.register(images="none", ending=".csv")
def csv(data: ExportData, stream: BinaryIO) -> None:
    """A table with one line for each image."""
    safe_table(data.rows).to_csv(stream, index=False)
