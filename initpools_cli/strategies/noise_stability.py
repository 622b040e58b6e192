"""Strategy `noise-stability`: images whose predictions change most, and differently, under noise on the weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.bounds import Passes, PositiveFactor
from initpools_cli.core.capacity import require_memory
from initpools_cli.geometry.farthest_first import farthest_first
from initpools_cli.geometry.logits import logits_of
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, unlabeled_rows


@strategies.register(paper="Li et al. 2024, arXiv:2205.13340", nested=True, cost="n h c + b n c", needs_model=True)
def noise_stability(
    features: NDArray[np.float32],
    head: NDArray[np.float64],
    labeled: NDArray[np.int64],
    budget: int,
    rng: np.random.Generator,
    *,
    passes: Passes = 30,
    scale: PositiveFactor = 1e-3,
) -> Selection:
    """Take the image whose changes of prediction, under noise on the weights, are farthest from 0 and from all picks.

    In each pass Gaussian noise is added to the weights of the last layer, whose length is `scale` times theirs. The
    changes of the probabilities, divided by the length of the prediction, are concatenated over the passes. The first
    pick is the image with the largest change, and the others follow by farthest-first traversal, as in the paper's
    code.

    Unlike here, the paper adds noise to all layers. For the learner `linear` the last layer is the whole model.

    Parameters
    ----------
    features : (n, h) float32
        Inputs of the last layer.
    head : (h + 1, c) float64
        Weights of the last layer, with the bias as the last row, which has no noise.
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator
    passes : int
        Number of passes.
    scale : float
        Length of the noise, relative to that of the weights.

    Returns
    -------
    Selection
        Scores: distance of the changes to 0 and to those of the nearest pick, whichever is smaller.
    """
    rows = unlabeled_rows(len(features), labeled)
    require_memory(
        (len(rows) + 1) * passes * head.shape[1] * 4,
        f"Changes of {len(rows):,} predictions of {head.shape[1]} classes in {passes} passes take",
        "Use fewer passes: --set passes=N; or fewer images: --set select.sample=N.",
    )
    changes = prediction_changes(np.ascontiguousarray(features[rows]), head, passes, scale, rng)
    # A last row of zeros, from which the first pick is the farthest.
    at_zero = np.concatenate([changes, np.zeros((1, changes.shape[1]), np.float32)])
    picks, gaps = farthest_first(at_zero, budget, np.array([len(rows)]))
    return Selection(rows[picks], scores=np.sqrt(gaps))


def prediction_changes(
    features: NDArray[np.float32], head: NDArray[np.float64], passes: int, scale: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Compute the relative changes of predictions under noise on the weights, (n, passes · c)."""
    from scipy.special import softmax

    weights, bias = head[:-1], head[-1:]
    before = softmax(logits_of(features, head), axis=1)
    lengths = np.linalg.norm(before, axis=1, keepdims=True)
    changes = np.empty((len(features), passes, head.shape[1]), np.float32)
    for number in range(passes):
        noise = rng.standard_normal(weights.shape)
        noise *= scale * np.linalg.norm(weights) / np.linalg.norm(noise)
        after = softmax(logits_of(features, np.concatenate([weights + noise, bias])), axis=1)
        changes[:, number] = (after - before) / lengths
    return changes.reshape(len(features), -1)
