"""Images for the browser: original files in formats that browsers show correctly, PNG for everything else."""

from __future__ import annotations

import contextlib
import hashlib
from typing import NamedTuple

from initpools_cli.core.errors import UserError
from initpools_cli.datasets.spec import Dataset
from initpools_cli.datasets.stored.shards import OriginalFile, Root


class Picture(NamedTuple):
    """An encoded image and its media type."""

    content: bytes
    kind: str


def original(data: Dataset, index: int) -> Picture:
    """Read a train image at its full size.

    Raises
    ------
    UserError
        The file is missing or no longer an image.
    """
    from initpools_cli.datasets.decode import read_image
    from initpools_cli.datasets.raster import Header, header_of
    from initpools_cli.figures.thumbnails import picture, png

    train = data.splits["train"]
    if data.root is None:
        return Picture(png(picture(train.images[index])), "image/png")
    file = _existing(data.root, train.paths[index])
    try:
        # By the content of the file, not by its name.
        header = header_of(file)
        if isinstance(header, Header) and header.mime_type:
            return Picture(file.read_bytes(), header.mime_type)
        return Picture(png(read_image(file, data.scale)), "image/png")
    except OSError as error:
        raise UserError(f"{file} can't be read: {error}.", "Restore the original file.", file) from None


def small(data: Dataset, index: int, side: int) -> Picture:
    """Encode a thumbnail of a train image, at most `side` pixels wide and high.

    The small copy that training uses replaces a file that can't be read.
    """
    from initpools_cli.datasets.decode import read_image
    from initpools_cli.figures.thumbnails import fitted, picture, webp

    train = data.splits["train"]
    image = None
    if data.root is not None:
        with contextlib.suppress(UserError):
            image = read_image(data.root / train.paths[index], data.scale, draft=side)
    return Picture(webp(fitted(picture(train.images[index]) if image is None else image, side)), "image/webp")


def changed_since(data: Dataset, index: int) -> str:
    """Return the note that the file of a train image has changed since the data set was opened; empty if it has not."""
    if data.root is None:
        return ""
    item = data.train_items.iloc[index]
    file = data.root / str(item["path"])
    try:
        differs = hashlib.sha256(file.read_bytes()).hexdigest() != item["sha256"]
    except OSError:
        # The code that shows the image reports that it is missing.
        return ""
    return f"{item['path']} was changed after its embedding was made." if differs else ""


def _existing(root: Root, path: str) -> OriginalFile:
    if not (root / path).is_file():
        raise UserError(f"{path} is no longer in {root}.", "Restore the original file.", path)
    return root / path
