"""Export: a folder of symbolic links for each class."""

from __future__ import annotations

from initpools_cli.core.output_folders import Entry, link_to
from initpools_cli.reporting.exports.data import ExportData
from initpools_cli.reporting.exports.registry import exports


@exports.register(images="files", classes=True)
def class_links(data: ExportData) -> dict[str, Entry]:
    """A folder for each class, with a symbolic link to each of its images, named index-name."""
    paths = [data.base / path for path in data.relative_paths]
    names = [f"{label}/{name}" for label, name in zip(data.labels, data.image_names, strict=True)]
    return {name: link_to(path) for name, path in zip(names, paths, strict=True)} | data.table(names)
