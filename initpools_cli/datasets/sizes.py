"""Sizes of original images."""

from __future__ import annotations

from initpools_cli.datasets.scale import Scale
from initpools_cli.datasets.spec import Dataset
from initpools_cli.datasets.stored.shards import OriginalFile


def all_within(data: Dataset, side: int) -> bool:
    """Whether no original image has a longer side of more than `side` pixels; reading stops at the first that has.

    Raises
    ------
    UserError
        An image file no longer exists, or can't be decoded.
    """
    root = data.root
    if root is None:
        return all(max(split.images.shape[1:3]) <= side for split in data.splits.values())
    return all(_longer_side(root / path, data.scale) <= side for split in data.splits.values() for path in split.paths)


def _longer_side(file: OriginalFile, scale: Scale) -> int:
    from PIL import Image, UnidentifiedImageError

    from initpools_cli.datasets.decode import read_image

    try:
        # The header suffices, and turning an image upright does not change its longer side.
        with file.open("rb") as stream, Image.open(stream) as image:
            return max(image.size)
    except (UnidentifiedImageError, OSError):
        return max(read_image(file, scale).size)
