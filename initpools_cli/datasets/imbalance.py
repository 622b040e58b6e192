"""Long-tailed train splits."""

from __future__ import annotations

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.seeds import generator


def tail_counts(n: int, classes: int, kind: str, ratio: float) -> list[int]:
    """Return the number of images that each class keeps, for classes of equal size.

    With N = n // C, "exp" keeps ``int(N · ratio^(c / (C − 1)))`` of class c, and "step" keeps N of the first C // 2
    classes and ``int(N · ratio)`` of the others (Cui et al. 2019, arXiv:1901.05555; Buda et al. 2018,
    arXiv:1710.05381). Deviation: a class always keeps one image, so that none disappears from small data sets.

    Parameters
    ----------
    n : int
        Images in the train split.
    classes : int
        C.
    kind : {"exp", "step"}
    ratio : float
        Smallest over largest class, in (0, 1].
    """
    most = n // classes
    if kind == "exp":
        counts = [int(most * ratio ** (c / max(classes - 1, 1))) for c in range(classes)]
    else:
        counts = [most if c < classes // 2 else int(most * ratio) for c in range(classes)]
    return [max(count, 1) for count in counts]


def long_tail(labels: np.ndarray, classes: int, kind: str, ratio: float, seed: int, name: str = "it") -> np.ndarray:
    """Return the mask of train images in a long tail, drawn for each class with a seed of its own.

    Parameters
    ----------
    labels : ndarray of shape (n,), int64
        Class numbers of the train split; images with -1 (no label) are left out.
    classes, kind, ratio
        As in `tail_counts`.
    seed : int
        The root seed.
    name : str
        The data set, for the error.

    Returns
    -------
    ndarray of shape (n,), bool

    Raises
    ------
    UserError
        There are no labels.
    """
    labeled = int((labels >= 0).sum())
    if not labeled:
        raise UserError(
            f"A long tail (dataset.imbalance={kind!r}) needs labels, but {name} has none.",
            "Leave out dataset.imbalance, or provide labels with --set dataset.labels=FILE.csv.",
            repr(kind),
        )
    mask = np.zeros(len(labels), dtype=bool)
    for c, count in enumerate(tail_counts(labeled, classes, kind, ratio)):
        rows = np.flatnonzero(labels == c)
        mask[generator(seed, "long-tail", c).permutation(rows)[:count]] = True
    return mask
