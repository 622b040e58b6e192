"""What a strategy gives back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Selection:
    """Images in order of choice.

    Attributes
    ----------
    indices : (budget,) int64
        Distinct rows.
    scores : (budget,) float64, optional
        What made each pick win, where that means something.
    clusters : (budget,) int64, optional
        The cluster of each pick, where there are clusters.
    """

    indices: NDArray[np.int64]
    scores: NDArray[np.float64] | None = None
    clusters: NDArray[np.int64] | None = None


def unlabeled_rows(n: int, labeled: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows of n that are not in `labeled`, ascending."""
    free = np.ones(n, bool)
    free[labeled] = False
    return np.flatnonzero(free)


def best_first(scores: NDArray[np.float64], labeled: NDArray[np.int64], budget: int) -> Selection:
    """The `budget` unlabelled rows with the highest scores; of equal ones the lower row first."""
    rows = unlabeled_rows(len(scores), labeled)
    order = rows[np.argsort(-scores[rows], kind="stable")[:budget]]
    return Selection(order, scores=scores[order])
