"""Export: a folder of symbolic links."""

from __future__ import annotations

from initpools_cli.core.output_folders import Entry, link_to
from initpools_cli.reporting.exports.data import ExportData
from initpools_cli.reporting.exports.registry import exports


@exports.register(images="files")
def links(data: ExportData) -> dict[str, Entry]:
    """A symbolic link to each image, named order-index-name."""
    paths = [data.base / path for path in data.relative_paths]
    return {name: link_to(path) for name, path in zip(data.names, paths, strict=True)} | data.table(data.names)
