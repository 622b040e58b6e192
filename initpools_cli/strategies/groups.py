"""Groups of images, such as those of one patient or one video: their numbers, and a limit on picks per group."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from initpools_cli.core.errors import UserError
from initpools_cli.core.seeds import generator
from initpools_cli.strategies.selection import ranks_within

Indices = NDArray[np.int64]


def group_codes(values: ArrayLike) -> Indices:
    """Number groups from 0 on in the order of their names, (n,) int64.

    Parameters
    ----------
    values : (n,) array of texts or integers
        The group of each image.

    Raises
    ------
    UserError
        If it has another shape or type, or a name is empty or negative.
    """
    array = np.asarray(values)
    if array.dtype == object and all(isinstance(each, str) for each in array.ravel().tolist()):
        array = array.astype(str)
    if array.ndim != 1 or array.dtype.kind not in "iuU":
        kind = f"{array.ndim}-D {array.dtype}"
        raise UserError(
            f"groups is {kind}; it must be 1-D integers or texts.", "Pass one name or number for each image.", kind
        )
    nameless = np.flatnonzero(array == "" if array.dtype.kind == "U" else array < 0)
    if len(nameless):
        value = repr(array[nameless[0]].item())
        raise UserError(
            f"groups has {value} for image {nameless[0]}, which names no group.",
            "Use texts or numbers ≥ 0; give an image without a group a name of its own.",
            value,
        )
    return np.unique(array, return_inverse=True)[1].astype(np.int64)


def shuffled(groups: Indices, seed: int) -> Indices:
    """Number the groups (n,) in random order, so that their names do not decide which come first."""
    ids, place = np.unique(groups, return_inverse=True)
    return generator(seed, "groups").permutation(len(ids))[place]


@dataclass(frozen=True)
class PerGroup:
    """At most `most` images per group while other groups have images left; then `most` more of each, and so on.

    Attributes
    ----------
    groups : (n,) int64
        Numbered from 0 on.
    most : int
        ≥ 1.
    labeled : (l,) int64
        Labeled images, which count.
    """

    groups: Indices
    most: int
    labeled: Indices

    def room(self, free: Indices, picks: Indices) -> Indices:
        """Count how many more images each group may have, (g,) int64.

        Parameters
        ----------
        free, picks : (m,), (p,) int64
            Images that may still be picked, at least one; earlier picks.
        """
        counts = self._used(picks)
        fewest = int(counts[self.groups[free]].min())
        return np.maximum((fewest // self.most + 1) * self.most - counts, 0)

    def in_order(self, images: Indices, picks: Indices) -> Indices:
        """Sort images so that groups with fewer than `most` come first, then those with fewer than twice as many."""
        owners = self.groups[images]
        return images[np.argsort((self._used(picks)[owners] + ranks_within(owners)) // self.most, kind="stable")]

    def _used(self, picks: Indices) -> Indices:
        owners = self.groups[np.concatenate([self.labeled, picks])]
        return np.bincount(owners, minlength=int(self.groups.max()) + 1)
