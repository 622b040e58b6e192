"""Score `grand`: norm of the gradient early in training."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.bounds import Passes
from initpools_cli.scores.registry import scores


@scores.register(
    paper="Paul, Ganguli & Dziugaite 2021, arXiv:2107.07075",
    high="large gradient of the last layer early in training",
    oracle=True,
)
def grand(grand: NDArray[np.float32], *, early: Passes = 10) -> NDArray[np.float64]:
    """Compute the norm of the gradient of an image's loss in the last layer, averaged over the first epochs.

    Deviations: the gradient of the last layer, computed from the forward pass, not of the whole network; and those of
    `el2n`.

    Parameters
    ----------
    grand : (epochs, n) float32
        The norm in each epoch of training on the image.
    early : int
        Number of epochs; at most all.

    Returns
    -------
    (n,) float64
        At least 0.
    """
    return grand[:early].mean(axis=0, dtype=np.float64)
