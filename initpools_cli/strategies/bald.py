"""BALD: where passes with dropout are each sure, and do not agree."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.chunked import map_blocks
from initpools_cli.strategies.entropy import entropies
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, best_first

ROWS = 4096


@strategies.register(paper="Houlsby et al. 2011, arXiv:1112.5745", nested=True, cost="t n c", needs_model=True)
def bald(mc_probs: NDArray[np.float64], labeled: NDArray[np.int64], budget: int) -> Selection:
    """Take the images whose label would tell most about the model: single passes are sure of it and disagree.

    Parameters
    ----------
    mc_probs : (t, n, c) float64
        Of t ≥ 2 passes with dropout (Gal, Islam & Ghahramani 2017, arXiv:1703.02910); rows sum to 1.
    labeled : (m,) int64
    budget : int

    Returns
    -------
    Selection
        Scores: the entropy of the mean of the passes minus the mean of their entropies, in nats; from 0, which is where
        all passes agree, to ln t.
    """
    return best_first(information(mc_probs), labeled, budget)


def information(mc_probs: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the label of each image (n,) would tell about which of the passes (t, n, c) is right, in nats, from 0."""

    def told(rows: slice) -> NDArray[np.float64]:
        each = np.stack([entropies(one[rows]) for one in mc_probs])
        return entropies(np.maximum(_mean(mc_probs[:, rows]), 0)) - _mean(each)

    values: NDArray[np.float64] = np.maximum(np.concatenate(map_blocks(told, mc_probs.shape[1], ROWS)), 0)
    return values


def _mean(passes: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean over the first axis, without any rounding where all along it are the same."""
    mean: NDArray[np.float64] = passes[0] + (passes - passes[0]).mean(axis=0)
    return mean
