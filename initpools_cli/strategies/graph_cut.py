"""Graph cut: images like many others, and unlike the ones already picked."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, PositiveFloat

from initpools_cli.geometry.similarity import BATCH, TIE, excess, similar_to, similarities
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection


@strategies.register(paper="Lin & Bilmes 2011, ACL", nested=True, cost="n² d")
def graph_cut(
    embeddings: NDArray[np.float32],
    labeled: NDArray[np.int64],
    budget: int,
    rng: np.random.Generator,
    *,
    similarity: Literal["cosine", "rbf"] = "cosine",
    bandwidth: PositiveFloat = 1.0,
    lam: NonNegativeFloat = 1.0,
) -> Selection:
    """Take the image with the largest lam Σ_y s(x, y) − 2 Σ_picked s(x, l) − s(x, x), s the similarity.

    The gain of lam Σ_x Σ_y s(x, y) − Σ_x Σ_x' s(x, x') over picks x, x' and all images y; greedy, exact. The first sum
    is over all images and mostly outweighs the second: where picks crowd in one place, lower lam to about budget / n.
    Gains within 1e-6 are ties.

    Parameters
    ----------
    embeddings : (n, d) float32
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator
        Not used.
    similarity : {"cosine", "rbf"}
        (1 + cos) / 2, or exp(−(distance / bandwidth)²).
    bandwidth : float
        In the embeddings' unit; for "rbf".
    lam : float
        The weight of being like others.

    Returns
    -------
    Selection
        Scores: the gains.
    """
    n = len(embeddings)
    similar = similarities(embeddings, similarity, bandwidth)
    nothing = np.zeros(n)
    spans = [slice(start, min(start + BATCH, n)) for start in range(0, n, BATCH)]
    sums = np.concatenate([excess(similar, np.arange(n)[span], nothing) for span in spans])
    own = np.concatenate([np.diagonal(similar(np.arange(n)[span], span)) for span in spans])
    gains = lam * sums - own
    for row in labeled:
        gains -= 2 * similar_to(similar, int(row), n)
    gains[labeled] = -np.inf
    picks = np.empty(budget, np.int64)
    scores = np.empty(budget)
    for place in range(budget):
        at = int(np.flatnonzero(gains >= gains.max() - TIE)[0])
        picks[place], scores[place] = at, gains[at]
        gains -= 2 * similar_to(similar, at, n)
        gains[at] = -np.inf
    return Selection(picks, scores=scores)
