"""Images that a strategy reads, and those of them that it may choose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from initpools_cli.core.errors import UserError
from initpools_cli.core.seeds import generator
from initpools_cli.strategies.arrays import INPUTS, image_axis, integers


@dataclass(frozen=True)
class Candidates:
    """Images that a strategy reads, and those of them that it may choose.

    Attributes
    ----------
    total : int
        Number of all images.
    rows : (m,) int64
        Images that the strategy reads: all that are not excluded, or the sample and the labeled ones; ascending.
    free : (f,) int64
        Those of `rows` that are not labeled, ascending.
    labeled : (l,) int64
        Labeled images, also those that are excluded, ascending.
    """

    total: int
    rows: NDArray[np.int64]
    free: NDArray[np.int64]
    labeled: NDArray[np.int64]


def candidates_of(
    images: NDArray[np.int64],
    labeled: ArrayLike | None,
    exclude: ArrayLike | None,
    budget: int,
    *,
    sample: int,
    seed: int,
    budget_name: str,
) -> Candidates:
    """Return the images that a strategy may choose `budget` of.

    Parameters
    ----------
    images : (n,) int64
        All images, ascending.
    labeled, exclude : (m,) int or (n,) bool, optional
    budget, sample, seed, budget_name
        See `select.choose`.

    Raises
    ------
    UserError
        If `labeled` or `exclude` is not valid, nothing is left to choose, or the budget is not valid.
    """
    total = int(images[-1]) + 1
    labeled_rows = as_rows("labeled", labeled, total)
    rows = np.setdiff1d(images, as_rows("exclude", exclude, total), assume_unique=True)
    free = np.setdiff1d(rows, labeled_rows, assume_unique=True)
    refuse_none_left(len(free), len(rows))
    _check_budget(budget, len(free), budget_name)
    if 0 < sample < len(free):
        free = _draw_sample(free, sample, budget, seed)
        rows = np.union1d(free, np.intersect1d(rows, labeled_rows, assume_unique=True))
    return Candidates(total, rows, free, labeled_rows)


def images_of(inputs: Mapping[str, ArrayLike], n: int | None = None) -> NDArray[np.int64]:
    """Return the indices of all images, ascending: one per row of the inputs, or those of a ranking.

    Parameters
    ----------
    inputs : mapping of str to array
        By the names of `strategies.arrays.INPUTS`; all of them are checked, used or not.
    n : int, optional
        Number of images, if known.

    Raises
    ------
    UserError
        If a shape is not valid, the numbers of images differ, or a ranking is empty, repeats an image or has an index
        out of range.
    """
    counts = {} if n is None else {"the data set": n}
    for name, values in inputs.items():
        if name in INPUTS and values is not None:
            shape = np.shape(values)
            axis = image_axis(name, shape)
            counts |= {} if axis is None else {name: shape[axis]}
    if len(set(counts.values())) > 1:
        sizes = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise UserError(
            f"The numbers of images differ: {sizes}.", "Pass arrays of the same images in the same order.", sizes
        )
    total = next(iter(counts.values()), None)
    order = inputs.get("order")
    if order is None:
        if total is None:
            raise ValueError("neither an input nor n tells how many images there are")
        return np.arange(total)
    ranking = INPUTS["order"].check(order)
    if not len(ranking):
        raise UserError("The ranking is empty: it has 0 images.", "Use a ranking of at least one image.", 0)
    rows = as_rows("The ranking", ranking, int(ranking.max()) + 1 if total is None else total)
    return rows if total is None else np.arange(total)


def refuse_none_left(available: int, images: int) -> None:
    """Refuse a selection without unlabeled images.

    Parameters
    ----------
    available, images : int
        Number of unlabeled images, and of images that are not excluded.

    Raises
    ------
    UserError
        If `available` is 0.
    """
    if not images:
        raise UserError("All images are excluded: 0 are left.", "Exclude fewer images.", 0)
    if not available:
        raise UserError(
            f"All {images} images are labeled: there is nothing to select.", "Use fewer labeled images.", images
        )


def as_rows(name: str, values: ArrayLike | None, n: int) -> NDArray[np.int64]:
    """Convert image indices, or a mask of all n images, to ascending indices.

    Raises
    ------
    UserError
        If the array is neither, a mask has another length, or an index is out of range or repeated.
    """
    if values is None:
        return np.empty(0, np.int64)
    array = np.asarray(values)
    if array.dtype == bool:
        if array.shape != (n,):
            raise UserError(
                f"{name} is a mask of shape {array.shape}, but there are {n} images.",
                f"Use a mask of shape ({n},).",
                array.shape,
            )
        return np.flatnonzero(array)
    rows = np.sort(integers(name, array))
    outside = rows[(rows < 0) | (rows >= n)]
    if len(outside):
        raise UserError(
            f"{name} has image {outside[0]}, but there are {n} images.", f"Use indices from 0 to {n - 1}.", outside[0]
        )
    duplicates = rows[1:][np.diff(rows) == 0]
    if len(duplicates):
        raise UserError(f"{name} has image {duplicates[0]} more than once.", "List each image once.", duplicates[0])
    return rows


def _check_budget(budget: int, available: int, name: str) -> None:
    if isinstance(budget, bool) or not isinstance(budget, int | np.integer):
        raise UserError(f"{name}{budget!r} is not an integer.", "Use an integer ≥ 1.", repr(budget))
    if budget < 1:
        raise UserError(f"{name}{budget} is less than 1.", "Use an integer ≥ 1.", budget)
    if budget > available:
        images = "1 unlabeled image" if available == 1 else f"{available:,} unlabeled images"
        raise UserError(f"{name}{budget} is more than the {images}.", "Use a smaller budget.", budget)


def _draw_sample(free: NDArray[np.int64], sample: int, budget: int, seed: int) -> NDArray[np.int64]:
    if sample < budget:
        raise UserError(
            f"sample={sample} is less than budget={budget}.", "Use a larger sample, or 0 for all images.", sample
        )
    return np.sort(generator(seed, "sample").choice(free, sample, replace=False))
