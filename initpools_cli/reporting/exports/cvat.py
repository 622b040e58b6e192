"""Export: annotations of CVAT."""

from __future__ import annotations

import re
from itertools import chain
from typing import BinaryIO
from xml.etree import ElementTree  # XML is only written  # nosec B405

from initpools_cli.core.errors import UserError
from initpools_cli.datasets.annotations.rows import PREDICTION
from initpools_cli.datasets.stored.shards import OriginalFile
from initpools_cli.reporting.exports.data import ExportData
from initpools_cli.reporting.exports.registry import exports

#: Characters that XML 1.0 can't store in any way.
NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@exports.register(images="files", ending=".xml", split=False)
def cvat(data: ExportData, stream: BinaryIO) -> None:
    """Annotations as CVAT for images 1.1: a label is a tag; the tag of a prediction has source="auto".

    https://docs.cvat.ai/docs/manual/advanced/formats/format-cvat/
    """
    lists = data.label_lists
    for text in (*data.relative_paths, *chain.from_iterable(lists)):
        if NOT_IN_XML.search(text):
            raise UserError(
                f"{text!r} has a character that XML can't store.",
                "Rename the file or the class, or use another format: `initpools export jsonl -o labels.jsonl`.",
                repr(text),
            )
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    labels = ElementTree.SubElement(
        ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task"),
        "labels",
    )
    for name in sorted(set(chain.from_iterable(lists))):
        label = ElementTree.SubElement(labels, "label")
        ElementTree.SubElement(label, "name").text = name
        ElementTree.SubElement(label, "type").text = "tag"
        ElementTree.SubElement(label, "attributes")
    for number, path in enumerate(data.relative_paths):
        width, height = _size(data, number)
        facts = {"id": str(number), "name": path, "width": str(width), "height": str(height)}
        image = ElementTree.SubElement(root, "image", facts)
        source = "auto" if data.sources[number] == PREDICTION else "manual"
        for name in lists[number]:
            ElementTree.SubElement(image, "tag", {"label": name, "source": source})
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(stream, encoding="utf-8", xml_declaration=True)


def _size(data: ExportData, position: int) -> tuple[int, int]:
    """Return the width and height of an image as stored, in pixels."""
    from initpools_cli.datasets.decode import read_image

    path = data.rows["path"].iloc[position]
    if data.dataset.root is None:
        height, width = data.dataset.splits["train"].images.shape[1:3]
        return width, height
    return _stored_size(data.dataset.root / path) or read_image(data.dataset.root / path, data.dataset.scale).size


def _stored_size(file: OriginalFile) -> tuple[int, int] | None:
    """Return the size in the header of a file; None if Pillow does not read it."""
    from PIL import Image, UnidentifiedImageError

    try:
        with file.open("rb") as stream, Image.open(stream) as image:
            return image.size
    except UnidentifiedImageError:
        return None
