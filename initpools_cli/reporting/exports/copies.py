"""Export: a folder of copies."""

from __future__ import annotations

from initpools_cli.core.output_folders import Entry
from initpools_cli.reporting.exports.data import ExportData
from initpools_cli.reporting.exports.registry import exports


@exports.register(images="content")
def copies(data: ExportData) -> dict[str, Entry]:
    """A copy of each image, named order-index-name."""
    return dict(zip(data.names, data.images, strict=True)) | data.table(data.names)
