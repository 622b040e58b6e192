"""Score `correctness`: share of epochs in which the label was predicted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.scores.registry import scores


@scores.register(
    paper="Swayamdipta et al. 2020, arXiv:2009.10795",
    high="its label was predicted in most epochs",
    oracle=True,
)
def correctness(correct: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Compute the share of epochs in which an image's label was predicted.

    Parameters
    ----------
    correct : (epochs, n) bool
        Whether each image's label was predicted in each epoch of training on it.

    Returns
    -------
    (n,) float64
        In [0, 1].
    """
    return correct.mean(axis=0, dtype=np.float64)
