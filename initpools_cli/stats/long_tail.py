"""Outcomes of active learning on a long tail: how it treats rare classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

#: A data set has a long tail if its largest class has more than this many times the images of its smallest.
TENFOLD = 10


def is_long_tail(counts: NDArray[np.int64]) -> bool:
    """Return whether the numbers of images of the classes (c,) that occur differ more than tenfold."""
    there = counts[counts > 0]
    return len(there) > 1 and bool(there.max() > TENFOLD * there.min())


def rarest_third(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the classes with the fewest images: a third of those that occur, at least one; ties to the lower class.

    Parameters
    ----------
    counts : (c,) int64
        Number of train images of each class.

    Returns
    -------
    (k,) int64
        Ascending.
    """
    there = np.flatnonzero(counts)
    order = there[np.argsort(counts[there], kind="stable")]
    return np.sort(order[: max(1, len(there) // 3)])


def rare_recall(recalls: NDArray[np.float64], rare: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float64]:
    """Average the recalls (r, c) of rare classes, (r,); classes without test images, NaN, are left out."""
    values = recalls[:, list(rare)]
    valid = ~np.isnan(values)
    count = valid.sum(axis=1)
    total = np.where(valid, values, 0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def labels_until_seen(labels: NDArray[np.int64], classes: NDArray[np.int64]) -> float:
    """Count the labels, in order of purchase, until each of `classes` has one; infinity if some class never has.

    Parameters
    ----------
    labels : (m,) int64
        Classes of the labeled images in order of purchase.
    classes : (k,) int64
    """
    first = [np.flatnonzero(labels == each) for each in classes]
    return float(max((places[0] + 1 if len(places) else np.inf) for places in first))
