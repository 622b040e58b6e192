"""Export: JSON Lines."""

from __future__ import annotations

import json
from typing import BinaryIO

from initpools_cli.reporting.exports.data import ExportData
from initpools_cli.reporting.exports.registry import exports
from initpools_cli.reporting.pool_table import records


@exports.register(images="none", ending=".jsonl")
def jsonl(data: ExportData, stream: BinaryIO) -> None:
    """One JSON object a line for each image, with the columns of the table; null where there is no value."""
    for row in records(data.rows):
        stream.write((json.dumps(row, allow_nan=False) + "\n").encode())
