"""Strategy `random`: uniform random draws, the baseline."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, unlabeled_rows


@strategies.register(nested=True, cost="n")
def random(n: int, labeled: NDArray[np.int64], budget: int, rng: np.random.Generator) -> Selection:
    """Draw images uniformly at random.

    Parameters
    ----------
    n : int
        Number of images.
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator

    Returns
    -------
    Selection
    """
    return Selection(rng.permutation(unlabeled_rows(n, labeled))[:budget])
