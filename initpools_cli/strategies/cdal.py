"""CDAL: predictions that no labeled image has yet had the like of."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.chunked import map_blocks
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection

ROWS, COLUMNS = 4096, 512
# Probabilities count as at least this, so that a class that is ruled out has a logarithm.
LEAST = 1e-12


@strategies.register(
    paper="Agarwal et al. 2020, arXiv:2008.05723", nested=True, cost="b n c", needs_model=True, aliases=("cdal-cs",)
)
def cdal(probs: NDArray[np.float64], labeled: NDArray[np.int64], budget: int) -> Selection:
    """Cover the predictions with balls of the smallest radius, greedily, where the distance is contextual diversity.

    That is the mean of both Kullback-Leibler divergences: the paper's core-set variant, for images of one class each.
    Deviations: the first pick, too, is the farthest from all labeled, where the code draws it; with nothing labeled
    it is the one nearest the mean prediction; probabilities count as at least 1e-12.

    Parameters
    ----------
    probs : (n, c) float64
        Rows sum to 1.
    labeled : (m,) int64
    budget : int

    Returns
    -------
    Selection
        Scores: distance in nats to the nearest image chosen or labeled before, inf for the very first.
    """
    probs = np.maximum(probs, LEAST)
    logs = np.log(probs)
    picks = np.empty(budget, np.int64)
    gaps = np.empty(budget)
    nearest = _nearest(probs, logs, labeled)
    free = np.ones(len(probs), bool)
    free[labeled] = False
    for place in range(budget):
        if place or len(labeled):
            at = int(np.where(free, nearest, -1.0).argmax())
        else:
            mean = probs.mean(axis=0)
            at = int(diversity(probs, logs, mean, np.log(mean)).argmin())
        picks[place], gaps[place] = at, nearest[at]
        free[at] = False
        np.minimum(nearest, diversity(probs, logs, probs[at], logs[at]), out=nearest)
    return Selection(picks, scores=gaps)


def diversity(
    probs: NDArray[np.float64], logs: NDArray[np.float64], other: NDArray[np.float64], other_log: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Half the sum of both Kullback-Leibler divergences, in nats, row by row; exactly 0 for equal rows.

    Parameters
    ----------
    probs, logs : (n, c) float64
        Above 0, and their logarithms.
    other, other_log : (n, c) or (c,) float64
        The same of what they are compared with.
    """
    values: NDArray[np.float64] = 0.5 * np.einsum("ij,ij->i", probs - other, logs - other_log)
    return values


def _nearest(probs: NDArray[np.float64], logs: NDArray[np.float64], labeled: NDArray[np.int64]) -> NDArray[np.float64]:
    """The diversity of each row from the labeled row nearest to it, inf where there is none."""
    if not len(labeled):
        return np.full(len(probs), np.inf)

    def nearest(span: slice) -> NDArray[np.float64]:
        lowest, where = np.full(span.stop - span.start, np.inf), np.empty(span.stop - span.start, np.int64)
        for start in range(0, len(labeled), COLUMNS):
            rows = labeled[start : start + COLUMNS]
            # What both sides of a pair have in common: what is left out is the same for all of a row.
            rough = np.einsum("ij,ij->i", probs[rows], logs[rows]) - probs[span] @ logs[rows].T
            rough -= logs[span] @ probs[rows].T
            column = rough.argmin(axis=1)
            value = rough[np.arange(len(rough)), column]
            better = value < lowest
            lowest[better], where[better] = value[better], rows[column[better]]
        return diversity(probs[span], logs[span], probs[where], logs[where])

    return np.concatenate(map_blocks(nearest, len(probs), ROWS))
