"""Images for figures: thumbnails to show on hover, and larger copies of originals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.seeds import generator
from initpools_cli.steps.context import Context

if TYPE_CHECKING:
    from PIL.Image import Image


def hover_tiles(context: Context, rows: np.ndarray, first: np.ndarray, limit: int) -> dict[str, Any] | None:
    """Make tiles of at most `limit` train images: those of `first` in order, then a seeded sample of `rows`."""
    from initpools_cli.figures.thumbnails import sheets

    if not limit or not context.data.has_images:
        return None
    others = np.setdiff1d(rows, first)
    sample = generator(context.seed, "plot", "thumbnails").permutation(others)
    indices = np.concatenate([np.asarray(first, np.int64), sample])[:limit]
    return sheets(context.data.splits["train"].images, indices)


def originals(context: Context, indices: Sequence[int], side: int) -> tuple[dict[int, Image], list[str]]:
    """Read original train images, at most `side` pixels wide and high.

    Returns
    -------
    pictures : dict
        By index.
    missing : list of str
        Paths of files that can't be read; the small copy that training uses replaces them.
    """
    from initpools_cli.datasets.decode import read_image
    from initpools_cli.figures.thumbnails import fitted, picture

    train, root = context.data.splits["train"], context.data.root
    pictures, missing = {}, []
    for index in dict.fromkeys(int(index) for index in indices):
        image = picture(train.images[index])
        if root is not None:
            try:
                image = read_image(root / train.paths[index], context.data.scale)
            except UserError:
                missing.append(train.paths[index])
        pictures[index] = fitted(image, side)
    return pictures, missing
