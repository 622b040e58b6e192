"""Strategy `epig`: highest information about the labels of other images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.bounds import PositiveCount
from initpools_cli.geometry.chunked import map_blocks
from initpools_cli.strategies.entropy import entropies
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, best_first

# Joint probabilities per block, and information within rounding of 0, in nats.
BLOCK = 2**20
ROUNDING = 1e-12


@strategies.register(paper="Bickford Smith et al. 2023, arXiv:2304.08151", nested=True, cost="t n c²", needs_model=True)
def epig(
    mc_probs: NDArray[np.float64],
    labeled: NDArray[np.int64],
    budget: int,
    rng: np.random.Generator,
    *,
    targets: PositiveCount = 100,
) -> Selection:
    """Take the images whose labels say most about the labels of other images: expected predictive information gain.

    The score is the mean, over target images, of the mutual information between the label of an image and that of the
    target under dropout passes. Targets are drawn from all images, labeled or not: they stand for the images that the
    model will be used on.

    Unlike here, the paper takes one image after the other and trains again after each. Here the images with the highest
    scores are taken together.

    Parameters
    ----------
    mc_probs : (t, n, c) float64
        Predictions of t ≥ 2 dropout passes; rows sum to 1.
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator
        Draws the targets.
    targets : int
        Number of target images; all images if there are fewer.

    Returns
    -------
    Selection
        Scores: expected information in nats, from 0 to ln c.
    """
    n = mc_probs.shape[1]
    target_rows = np.sort(rng.choice(n, min(targets, n), replace=False))
    return best_first(predictive_information(mc_probs, mc_probs[:, target_rows]), labeled, budget)


def predictive_information(mc_probs: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the mean over targets of I(y; y*) = H(y) + H(y*) − H(y, y*), in nats.

    Parameters
    ----------
    mc_probs : (t, n, c) float64
    targets : (t, m, c) float64

    Returns
    -------
    (n,) float64
    """
    from scipy.special import entr

    passes, n, classes = mc_probs.shape
    count = targets.shape[1]
    columns = classes * max(1, min(count, BLOCK // classes**2))
    rows = max(1, BLOCK // (classes * columns))
    wide = np.ascontiguousarray(targets).reshape(passes, -1) / passes

    def joint(span: slice) -> NDArray[np.float64]:
        """Mean entropy of both labels, over the targets."""
        block = mc_probs[:, span].transpose(1, 2, 0).reshape(-1, passes)
        total = np.zeros(span.stop - span.start)
        for start in range(0, wide.shape[1], columns):
            both = entr(block @ wide[:, start : start + columns])
            total += both.reshape(len(total), -1).sum(axis=1)
        return total / count

    of_targets = entropies(targets.mean(axis=0)).mean()
    gains = entropies(mc_probs.mean(axis=0)) + of_targets - np.concatenate(map_blocks(joint, n, rows))
    values: NDArray[np.float64] = np.where(gains > ROUNDING, gains, 0.0)
    return values
