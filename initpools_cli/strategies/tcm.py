"""Strategy `tcm`: TypiClust while few images are labeled, then margin sampling."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.bounds import Count
from initpools_cli.strategies.margin import margin
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection
from initpools_cli.strategies.typiclust import typiclust


@strategies.register(paper="Doucet et al. 2024, arXiv:2403.03728", nested=False, cost="n d k", factor=40.0)
def tcm(
    embeddings: NDArray[np.float32],
    labeled: NDArray[np.int64],
    budget: int,
    rng: np.random.Generator,
    probs: NDArray[np.float64] | None = None,
    *,
    switch: Count = 0,
) -> Selection:
    """Select by TypiClust while few images are labeled, and then the images with the smallest margin.

    Without a model it always uses TypiClust.

    Parameters
    ----------
    embeddings : (n, d) float32
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator
    probs : (n, c) float64, optional
        Predictions of a model trained on the labeled images; rows sum to 1.
    switch : int
        Number of labeled images from which on margins are used; 0: three times the budget.

    Returns
    -------
    Selection
        Scores: typicality (with clusters), or minus the margin.
    """
    if probs is None or len(labeled) < (switch or 3 * budget):
        return typiclust(embeddings, labeled, budget, rng)
    return margin(probs, labeled, budget)
