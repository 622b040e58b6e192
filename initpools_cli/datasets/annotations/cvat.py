"""Reader of CVAT's export "CVAT for images", an XML file or an archive with one; a class is an image's tag."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from xml.etree import ElementTree  # a document type, which entities need, is refused  # nosec B405

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import LARGEST, read_file, require_file
from initpools_cli.datasets.annotations.rows import Row

#: Exceptions for damaged files, and encrypted or otherwise unsupported archives.
READ_ERRORS = (
    *(ElementTree.ParseError, ValueError, LookupError),
    *(zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, MemoryError),
)


class _WithoutDoctype(ElementTree.TreeBuilder):
    """Refuses a document type, which may define entities that expand a thousandfold; CVAT writes none."""

    def doctype(self, name: str, pubid: str, system: str) -> None:
        raise ValueError("it has a document type")


def read(path: Path, what: str) -> tuple[list[Row], list[str]]:
    """Read the tags of all images.

    Raises
    ------
    UserError
        The file is not such an export.
    """
    try:
        content = _content(path, what)
        parser = ElementTree.XMLParser(target=_WithoutDoctype())  # nosec B314
        root = ElementTree.fromstring(content, parser)  # nosec B314
    except READ_ERRORS as error:
        raise _no_export(path, what, str(error)) from None
    if root.tag != "annotations":
        raise _no_export(path, what, f"it starts with <{root.tag}>, not <annotations>")
    return [_row(number, image) for number, image in enumerate(root.iter("image"), 1)], []


def _row(number: int, image: ElementTree.Element) -> Row:
    place, name = f"image {number}", image.get("name", "")
    tags = sorted({tag.get("label", "") for tag in image.iter("tag")})
    if len(tags) > 1:
        return Row(place, name, problem=f"has {len(tags)} labels: {', '.join(tags)}", parts=tuple(tags))
    return Row(place, name, label=tags[0] if tags else "")


def _content(path: Path, what: str) -> bytes:
    if not zipfile.is_zipfile(require_file(path, what)):
        return read_file(path, what)
    with zipfile.ZipFile(path) as archive:
        name = next((name for name in archive.namelist() if name.lower().endswith(".xml")), None)
        if name is None:
            raise _no_export(path, what, "the archive has no .xml file")
        if archive.getinfo(name).file_size > LARGEST:
            raise _no_export(path, what, f"{name} in it is larger than {LARGEST >> 20} MiB")
        try:
            return archive.read(name)
        except OSError as error:
            # A damaged directory of the archive may lead outside the file.
            raise zipfile.BadZipFile(str(error)) from None


def _no_export(path: Path, what: str, why: str) -> UserError:
    return UserError(
        f"{path} ({what}) is not an export of CVAT: {why}.", "Export the task as 'CVAT for images 1.1'.", path
    )
