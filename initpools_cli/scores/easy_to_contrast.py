"""Easy to contrast: told from other images throughout training."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.scores.registry import scores
from initpools_cli.scores.seen import fill_unseen


@scores.register(paper="Chen et al. 2022, arXiv:2210.02442", high="training told it from other images with ease")
def easy_to_contrast(dynamics: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean over the epochs of the probability that training gives to an image's other view.

    Deviation: the paper goes by the probability of pseudo-labels; here it is that of the image's other view among the
    views of the training batch, at the paper's temperature 0.05.

    Parameters
    ----------
    dynamics : (n, 3) float64
        Epochs seen, and the mean and deviation over them of the probability of an image's other view.

    Returns
    -------
    (n,) float64
        In [0, 1]; images never seen get the median of the others.
    """
    return fill_unseen(dynamics[:, 1], dynamics[:, 0])
