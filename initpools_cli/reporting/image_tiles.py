"""The pictures of images, for figures: tiles to hover over, and originals at a good size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.seeds import generator
from initpools_cli.steps.context import Context

if TYPE_CHECKING:
    from PIL.Image import Image


def hover_tiles(context: Context, rows: np.ndarray, first: np.ndarray, most: int) -> dict[str, Any] | None:
    """The tiles of at most so many train images: those of `first` in their order, then a seeded sample of `rows`."""
    from initpools_cli.figures.thumbnails import sheets

    if not most:
        return None
    others = np.setdiff1d(rows, first)
    drawn = generator(context.seed, "plot", "thumbnails").permutation(others)
    known = np.concatenate([np.asarray(first, np.int64), drawn])[:most]
    return sheets(context.data.splits["train"].images, known)


def originals(context: Context, indices: Sequence[int], side: int) -> tuple[dict[int, Image], list[str]]:
    """Train images as they came, none larger than a square of `side` pixels.

    Returns
    -------
    pictures : dict
        By index.
    lost : list of str
        Paths of the files that can't be read any more; the small copy that training sees stands in for them.
    """
    from initpools_cli.datasets.decode import read_image
    from initpools_cli.figures.thumbnails import fitted, picture

    train, root = context.data.splits["train"], context.data.root
    found, lost = {}, []
    for index in dict.fromkeys(int(index) for index in indices):
        image = picture(train.images[index])
        if root is not None:
            try:
                image = read_image(root / train.paths[index], context.data.scale)
            except UserError:
                lost.append(train.paths[index])
        found[index] = fitted(image, side)
    return found, lost
