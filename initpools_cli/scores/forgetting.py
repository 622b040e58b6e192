"""Score `forgetting`: number of forgetting events during training."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.scores.registry import scores


@scores.register(
    paper="Toneva et al. 2019, arXiv:1812.05159",
    high="forgotten often during training, or never learned",
    oracle=True,
)
def forgetting(correct: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Count how often an image's label was predicted in one epoch but not in the next.

    Images whose label was never predicted get the number of epochs, which no other image can reach; in the paper they
    count as forgotten most, too.

    Parameters
    ----------
    correct : (epochs, n) bool
        Whether each image's label was predicted in each epoch of training on it.

    Returns
    -------
    (n,) float64
        Integers.
    """
    events = (correct[:-1] & ~correct[1:]).sum(axis=0)
    return np.where(correct.any(axis=0), events, len(correct)).astype(np.float64)
