"""Strategy `bald`: highest mutual information between label and model, by dropout passes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.chunked import map_blocks
from initpools_cli.strategies.entropy import entropies
from initpools_cli.strategies.multilabel import bald_of_sets
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, best_first

ROWS = 4096


@strategies.register(
    paper="Houlsby et al. 2011, arXiv:1112.5745",
    nested=True,
    cost="t n c",
    needs_model=True,
    multilabel=bald_of_sets,
)
def bald(mc_probs: NDArray[np.float64], labeled: NDArray[np.int64], budget: int) -> Selection:
    """Take the images with the highest mutual information between label and model over dropout passes.

    Parameters
    ----------
    mc_probs : (t, n, c) float64
        Predictions of t ≥ 2 dropout passes (Gal, Islam & Ghahramani 2017, arXiv:1703.02910); rows sum to 1.
    labeled : (m,) int64
    budget : int

    Returns
    -------
    Selection
        Scores: entropy of the mean prediction minus mean entropy of the passes, in nats; from 0, if all passes agree,
        to ln t.
    """
    return best_first(information(mc_probs), labeled, budget)


def information(mc_probs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the mutual information (n,) between label and dropout pass, in nats, from predictions (t, n, c)."""

    def part(rows: slice) -> NDArray[np.float64]:
        each = np.stack([entropies(one[rows]) for one in mc_probs])
        return entropies(np.maximum(_mean(mc_probs[:, rows]), 0)) - _mean(each)

    values: NDArray[np.float64] = np.maximum(np.concatenate(map_blocks(part, mc_probs.shape[1], ROWS)), 0)
    return values


def _mean(passes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the mean over the first axis, exact if all values along it are equal."""
    mean: NDArray[np.float64] = passes[0] + (passes - passes[0]).mean(axis=0)
    return mean
