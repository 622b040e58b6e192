"""EL2N: how wrong a classifier is about an image early in training."""

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
    """The length of predicted probabilities − label, averaged over the first epochs.

    Deviation: the paper takes it once, after 10 to 20 of 200 epochs, and averages over ten networks; here it is
    averaged over epochs, as the image is trained on, and over as many networks as ``score.runs`` says.

    Parameters
    ----------
    el2n : (epochs, n) float32
        The length when the image was trained on.
    early : int
        How many epochs; at most all.

    Returns
    -------
    (n,) float64
        In [0, √2].
    """
    return el2n[:early].mean(axis=0, dtype=np.float64)
