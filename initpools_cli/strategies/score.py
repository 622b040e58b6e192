"""Strategy `score`: order images by scores from a file."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, best_first


@strategies.register(nested=True, cost="n log n")
def score(
    scores: NDArray[np.float64],
    labeled: NDArray[np.int64],
    budget: int,
    *,
    order: Literal["highest", "lowest"] = "highest",
) -> Selection:
    """Take the images with the highest or lowest scores; ties go to the lower index.

    Parameters
    ----------
    scores : (n,) float64
        Finite, in any unit.
    labeled : (m,) int64
    budget : int
    order : {"highest", "lowest"}

    Returns
    -------
    Selection
        With the scores of the picks.
    """
    best = best_first(scores if order == "highest" else -scores, labeled, budget)
    return Selection(best.indices, scores=scores[best.indices])
