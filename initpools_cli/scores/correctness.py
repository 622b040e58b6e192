"""Correctness: how often a classifier predicts an image's label while it learns it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.scores.registry import scores


@scores.register(
    paper="Swayamdipta et al. 2020, arXiv:2009.10795",
    high="the network predicted its label in most epochs",
    oracle=True,
)
def correctness(correct: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The share of epochs in which the image's label was predicted.

    Parameters
    ----------
    correct : (epochs, n) bool
        Whether each image's label was predicted when the image was trained on.

    Returns
    -------
    (n,) float64
        In [0, 1].
    """
    return correct.mean(axis=0, dtype=np.float64)
