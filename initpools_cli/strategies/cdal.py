"""Strategy `cdal`: farthest-first on predictions, by contextual diversity."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.chunked import map_blocks
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection

ROWS, COLUMNS = 4096, 512
# Lower limit of probabilities, so that logarithms are finite.
LEAST = 1e-12


@strategies.register(
    paper="Agarwal et al. 2020, arXiv:2008.05723", nested=True, cost="b n c", needs_model=True, aliases=("cdal-cs",)
)
def cdal(probs: NDArray[np.float64], labeled: NDArray[np.int64], budget: int) -> Selection:
    """Take the image whose prediction is farthest from those of all labeled images and picks, by contextual diversity.

    The distance is the mean of both Kullback-Leibler divergences: the paper's core-set variant, for images of one class
    each.

    Differences from the paper's code:

    - The first pick, too, is the farthest from all labeled images, where the code draws it. Without labeled images it
      is the image nearest the mean prediction.
    - Probabilities are at least 1e-12.

    Parameters
    ----------
    probs : (n, c) float64
        Rows sum to 1.
    labeled : (m,) int64
    budget : int

    Returns
    -------
    Selection
        Scores: distance in nats to the nearest labeled image or earlier pick, inf for the very first.
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
    """Compute the mean of both Kullback-Leibler divergences, in nats, row by row; exactly 0 for equal rows.

    Parameters
    ----------
    probs, logs : (n, c) float64
        Probabilities above 0, and their logarithms.
    other, other_log : (n, c) or (c,) float64
        Probabilities to compare with, and their logarithms.
    """
    values: NDArray[np.float64] = 0.5 * np.einsum("ij,ij->i", probs - other, logs - other_log)
    return values


def _nearest(probs: NDArray[np.float64], logs: NDArray[np.float64], labeled: NDArray[np.int64]) -> NDArray[np.float64]:
    """Compute the diversity of each row from its nearest labeled row, inf without any."""
    if not len(labeled):
        return np.full(len(probs), np.inf)

    def nearest(span: slice) -> NDArray[np.float64]:
        lowest, where = np.full(span.stop - span.start, np.inf), np.empty(span.stop - span.start, np.int64)
        for start in range(0, len(labeled), COLUMNS):
            rows = labeled[start : start + COLUMNS]
            # The diversity up to a term that is constant within a row.
            rough = np.einsum("ij,ij->i", probs[rows], logs[rows]) - probs[span] @ logs[rows].T
            rough -= logs[span] @ probs[rows].T
            column = rough.argmin(axis=1)
            value = rough[np.arange(len(rough)), column]
            better = value < lowest
            lowest[better], where[better] = value[better], rows[column[better]]
        return diversity(probs[span], logs[span], probs[where], logs[where])

    return np.concatenate(map_blocks(nearest, len(probs), ROWS))
