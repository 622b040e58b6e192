"""Hard to contrast: mistaken for other images throughout training."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.scores.registry import scores
from initpools_cli.scores.seen import fill_unseen


@scores.register(paper="Chen et al. 2022, arXiv:2210.02442", high="training mistook it for other images")
def hard_to_contrast(dynamics: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 − the mean over the epochs of the probability that training gives to an image's other view.

    Deviation from the paper: that of `easy_to_contrast`.

    Parameters
    ----------
    dynamics : (n, 3) float64
        Epochs seen, and the mean and deviation over them of the probability of an image's other view.

    Returns
    -------
    (n,) float64
        In [0, 1]; images never seen get the median of the others.
    """
    return fill_unseen(1 - dynamics[:, 1], dynamics[:, 0])
