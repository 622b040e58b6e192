"""Images as a browser can show them: files as they are where it shows what training sees, everything else as PNG."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from initpools_cli.core.errors import UserError
from initpools_cli.datasets.spec import Dataset


class Picture(NamedTuple):
    """The bytes of an image, and their type."""

    content: bytes
    kind: str


def original(data: Dataset, index: int) -> Picture:
    """A train image at its full size.

    Raises
    ------
    UserError
        The file is no longer there, or is no image any more.
    """
    from initpools_cli.datasets.decode import read_image
    from initpools_cli.datasets.raster import Header, header_of
    from initpools_cli.figures.thumbnails import picture, png

    train = data.splits["train"]
    if data.root is None:
        return Picture(png(picture(train.images[index])), "image/png")
    file = _there(data.root, train.paths[index])
    try:
        # By what is in the file, not by its name.
        header = header_of(file)
        if isinstance(header, Header) and header.shown:
            return Picture(file.read_bytes(), header.shown)
        return Picture(png(read_image(file, data.scale)), "image/png")
    except OSError as error:
        raise UserError(f"{file} can't be read: {error}.", "Put it back as it was.") from None


def small(data: Dataset, index: int, side: int) -> Picture:
    """The copy of it that training sees, within a square of `side` pixels; there is one of a lost file, too."""
    from initpools_cli.figures.thumbnails import fitted, picture, png

    return Picture(png(fitted(picture(data.splits["train"].images[index]), side)), "image/png")


def _there(root: Path, path: str) -> Path:
    if not (root / path).is_file():
        raise UserError(f"{path} is no longer in {root}.", "Put it back as it was.")
    return root / path
