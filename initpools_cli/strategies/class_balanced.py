"""Strategy `class-balanced`: equal numbers of each class, by an oracle."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.errors import UserError
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, equal_draw


@strategies.register(nested=True, cost="n", oracle=True)
def class_balanced(
    labels: NDArray[np.int64], labeled: NDArray[np.int64], budget: int, rng: np.random.Generator
) -> Selection:
    """Draw random images round-robin over the true classes, using the labels of all images.

    An upper bound for comparison only, because it reads labels that were not bought. Exhausted classes are skipped.

    Parameters
    ----------
    labels : (n,) int64
        Labels of all images.
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator

    Returns
    -------
    Selection
        The clusters are the classes.

    Raises
    ------
    UserError
        If labels are unknown (-1).
    """
    refuse_unknown("class-balanced", labels)
    return equal_draw(labels, labeled, budget, rng)


def refuse_unknown(name: str, labels: NDArray[np.int64]) -> None:
    """Refuse unknown labels (-1) for an oracle.

    Parameters
    ----------
    name : str
        The strategy.
    labels : (n,) int64

    Raises
    ------
    UserError
        With the first image without a label.
    """
    unknown = np.flatnonzero(labels < 0)
    if len(unknown):
        raise UserError(
            f"'{name}' needs the labels of all images, but {len(unknown)} of {len(labels)} are unknown, the "
            f"first for image {unknown[0]}.",
            "Pass all labels (--labels FILE.npy), or use a strategy without labels, such as stratified.",
            len(unknown),
        )
