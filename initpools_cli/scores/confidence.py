"""Confidence: how sure a classifier is of an image's label while it learns it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.scores.registry import scores


@scores.register(
    paper="Swayamdipta et al. 2020, arXiv:2009.10795", high="the network was sure of its label throughout", oracle=True
)
def confidence(true_probs: NDArray[np.float32]) -> NDArray[np.float64]:
    """The mean over the epochs of the probability of the image's label.

    Parameters
    ----------
    true_probs : (epochs, n) float32
        The probability of each image's label when the image was trained on.

    Returns
    -------
    (n,) float64
        In [0, 1].
    """
    return true_probs.mean(axis=0, dtype=np.float64)
