"""Sizes of original images."""

from __future__ import annotations

from initpools_cli.datasets.spec import Dataset


def all_within(data: Dataset, side: int) -> bool:
    """Whether no original image has a longer side of more than `side` pixels; reading stops at the first that has.

    Raises
    ------
    UserError
        An image file no longer exists, or can't be decoded.
    """
    from initpools_cli.datasets.decode import read_image

    if data.root is None:
        return all(max(split.images.shape[1:3]) <= side for split in data.splits.values())
    return all(
        max(read_image(data.root / path, data.scale).size) <= side
        for split in data.splits.values()
        for path in split.paths
    )
