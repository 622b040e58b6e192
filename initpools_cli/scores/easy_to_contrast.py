"""Score `easy-to-contrast`: mean contrastive probability over epochs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.scores.registry import scores
from initpools_cli.scores.seen import fill_unseen


@scores.register(paper="Chen et al. 2022, arXiv:2210.02442", high="easily distinguished from other images")
def easy_to_contrast(dynamics: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the mean over epochs of the contrastive probability of an image's other view.

    Deviation: the paper uses probabilities of pseudo-labels; here it is the probability of the image's other view among
    the views of the training batch, at the paper's temperature 0.05.

    Parameters
    ----------
    dynamics : (n, 3) float64
        Number of epochs, and mean and standard deviation over them of the probability of an image's other view.

    Returns
    -------
    (n,) float64
        In [0, 1]; images without epochs get the median of the others.
    """
    return fill_unseen(dynamics[:, 1], dynamics[:, 0])
