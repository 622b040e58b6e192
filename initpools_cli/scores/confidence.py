"""Score `confidence`: mean probability of the label during training."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.scores.registry import scores


@scores.register(
    paper="Swayamdipta et al. 2020, arXiv:2009.10795",
    high="its label had a high probability throughout training",
    oracle=True,
)
def confidence(true_probs: NDArray[np.float32]) -> NDArray[np.float64]:
    """Compute the mean over epochs of the probability of an image's label.

    Parameters
    ----------
    true_probs : (epochs, n) float32
        Probability of each image's label in each epoch of training on it.

    Returns
    -------
    (n,) float64
        In [0, 1].
    """
    return true_probs.mean(axis=0, dtype=np.float64)
