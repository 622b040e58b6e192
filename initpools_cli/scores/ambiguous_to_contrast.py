"""Score `ambiguous-to-contrast`: variation of the contrastive probability over epochs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.scores.registry import scores
from initpools_cli.scores.seen import fill_unseen


@scores.register(paper="Chen et al. 2022, arXiv:2210.02442", high="distinguished from other images in some epochs only")
def ambiguous_to_contrast(dynamics: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the standard deviation over epochs of the contrastive probability of an image's other view.

    Deviation from the paper: as for `easy_to_contrast`.

    Parameters
    ----------
    dynamics : (n, 3) float64
        Number of epochs, and mean and standard deviation over them of the probability of an image's other view.

    Returns
    -------
    (n,) float64
        In [0, 1/2]; images without epochs get the median of the others.
    """
    return fill_unseen(dynamics[:, 2], dynamics[:, 0])
