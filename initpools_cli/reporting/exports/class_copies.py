"""Export: a folder of copies for each class."""

from __future__ import annotations

from initpools_cli.core.output_folders import Entry
from initpools_cli.reporting.exports.data import ExportData
from initpools_cli.reporting.exports.registry import exports


@exports.register(images="content", classes=True)
def class_copies(data: ExportData) -> dict[str, Entry]:
    """A folder for each class, with a copy of each of its images, named index-name."""
    names = [f"{label}/{name}" for label, name in zip(data.labels, data.image_names, strict=True)]
    return dict(zip(names, data.images, strict=True)) | data.table(names)
