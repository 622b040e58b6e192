"""Strategy `falcun`: draws of uncertain images whose predictions differ from those of earlier picks."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from initpools_cli.geometry.chunked import map_blocks
from initpools_cli.geometry.sampling import draw
from initpools_cli.strategies.margin import margins
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection

ROWS = 8192


@strategies.register(paper="Gilhuber et al. 2024, arXiv:2405.15476", nested=True, cost="b n c", needs_model=True)
def falcun(
    probs: NDArray[np.float64],
    labeled: NDArray[np.int64],
    budget: int,
    rng: np.random.Generator,
    *,
    gamma: Annotated[float, Field(ge=0, le=1e6)] = 10.0,
) -> Selection:
    """Draw images with probability proportional to a power of uncertainty plus difference from earlier picks.

    Uncertainty is 1 − margin. The difference is the smallest L1 distance between the predictions of an image and of a
    pick, at most the uncertainty, scaled to [0, 1] over the images that are left before each draw: it begins as the
    uncertainty, as in the paper and its code.

    Parameters
    ----------
    probs : (n, c) float64
        Rows sum to 1.
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator
    gamma : float
        The power: 0 draws all images alike, higher values approach the image with the largest sum.

    Returns
    -------
    Selection
        Scores: the sum of uncertainty and difference, from 0 to 2.
    """
    free = np.ones(len(probs), bool)
    free[labeled] = False
    uncertain = 1 - margins(probs)
    gaps = uncertain.copy()
    picks, scores = np.empty(budget, np.int64), np.empty(budget)
    for place in range(budget):
        low, high = gaps[free].min(), gaps[free].max()
        relevance = uncertain + ((gaps - low) / (high - low) if high > low else 0.0)
        largest = relevance[free].max()
        # Divided by the largest, so that no power overflows.
        shares = np.clip(relevance / largest, 0, 1) ** gamma if largest > 0 else np.ones(len(probs))
        at = draw(shares, free, rng)
        picks[place], scores[place] = at, relevance[at]
        free[at] = False
        _lower(gaps, probs, at)
        if not free.any():
            break
    return Selection(picks, scores=scores)


def _lower(gaps: NDArray[np.float64], probs: NDArray[np.float64], at: int) -> None:
    """Lower `gaps` (n,), in place, to the L1 distance from row `at` of `probs` where that is less."""

    def lower(span: slice) -> None:
        np.minimum(gaps[span], np.abs(probs[span] - probs[at]).sum(axis=1), out=gaps[span])

    map_blocks(lower, len(probs), ROWS)
