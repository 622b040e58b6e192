"""Forgetting events: how often a classifier unlearns an image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.scores.registry import scores


@scores.register(
    paper="Toneva et al. 2019, arXiv:1812.05159",
    high="the network forgot it again and again, or never learned it",
    oracle=True,
)
def forgetting(correct: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How often the image's label was predicted in one epoch and not in the next.

    Images whose label was never predicted count as the most forgotten, as in the paper: they get the number of epochs,
    which no other image can reach.

    Parameters
    ----------
    correct : (epochs, n) bool
        Whether each image's label was predicted when the image was trained on.

    Returns
    -------
    (n,) float64
        Whole numbers.
    """
    events = (correct[:-1] & ~correct[1:]).sum(axis=0)
    return np.where(correct.any(axis=0), events, len(correct)).astype(np.float64)
