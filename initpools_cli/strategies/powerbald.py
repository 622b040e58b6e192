"""PowerBALD: images drawn by their BALD score instead of the highest ones, which are all alike."""

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
    """Draw images without replacement, each with a chance in proportion to a power of its BALD score.

    Where all passes agree the score is 0, and such images come last, in random order.

    Parameters
    ----------
    mc_probs : (t, n, c) float64
        Of t ≥ 2 passes with dropout; rows sum to 1.
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator
    power : float
        The higher, the nearer to BALD.

    Returns
    -------
    Selection
        Scores: BALD's, in nats.
    """
    told = information(mc_probs)
    # The largest of log-weights, each with noise from a Gumbel distribution, are such a draw.
    noise = rng.gumbel(size=len(told))
    perturbed = np.full(len(told), -np.inf)
    np.log(told, out=perturbed, where=told > 0)
    perturbed = power * perturbed + noise
    rows = unlabeled_rows(len(told), labeled)
    picks = rows[np.lexsort((-noise[rows], -perturbed[rows]))[:budget]]
    return Selection(picks, scores=told[picks], candidate_scores=told[rows])
