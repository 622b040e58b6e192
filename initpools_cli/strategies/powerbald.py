"""Strategy `powerbald`: random draws weighted by BALD scores."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.bounds import PositiveFactor
from initpools_cli.strategies.bald import information
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, unlabeled_rows


@strategies.register(paper="Kirsch et al. 2021, arXiv:2106.12059", nested=True, cost="t n c", needs_model=True)
def powerbald(
    mc_probs: NDArray[np.float64],
    labeled: NDArray[np.int64],
    budget: int,
    rng: np.random.Generator,
    *,
    power: PositiveFactor = 1.0,
) -> Selection:
    """Draw images without replacement, with probability proportional to a power of their BALD score.

    Images on which all passes agree have a score of 0 and are drawn last, in random order.

    Parameters
    ----------
    mc_probs : (t, n, c) float64
        Predictions of t ≥ 2 dropout passes; rows sum to 1.
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator
    power : float
        Higher values approach BALD.

    Returns
    -------
    Selection
        Scores: BALD scores, in nats.
    """
    scores = information(mc_probs)
    # The Gumbel trick: the largest log-weights plus Gumbel noise are such a draw.
    noise = rng.gumbel(size=len(scores))
    keys = np.full(len(scores), -np.inf)
    np.log(scores, out=keys, where=scores > 0)
    keys = power * keys + noise
    rows = unlabeled_rows(len(scores), labeled)
    picks = rows[np.lexsort((-noise[rows], -keys[rows]))[:budget]]
    return Selection(picks, scores=scores[picks], candidate_scores=scores[rows])
