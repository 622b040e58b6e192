"""Score `el2n`: error of the prediction early in training."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.bounds import Passes
from initpools_cli.scores.registry import scores


@scores.register(
    paper="Paul, Ganguli & Dziugaite 2021, arXiv:2107.07075",
    high="the prediction was far from its label early in training",
    oracle=True,
)
def el2n(el2n: NDArray[np.float32], *, early: Passes = 10) -> NDArray[np.float64]:
    """Compute the L2 norm of predicted probabilities − one-hot label, averaged over the first epochs.

    Deviation: the paper computes it once, after 10 to 20 of 200 epochs, and averages over ten networks; here it is
    averaged over the first epochs and over ``score.runs`` networks.

    Parameters
    ----------
    el2n : (epochs, n) float32
        The norm in each epoch of training on the image.
    early : int
        Number of epochs; at most all.

    Returns
    -------
    (n,) float64
        In [0, √2].
    """
    return el2n[:early].mean(axis=0, dtype=np.float64)
