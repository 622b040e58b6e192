"""Centering and scaling of embeddings before training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

#: "common": divide all dimensions by one number. "each": divide each dimension by its own standard deviation.
Scale = Literal["common", "each"]
# Dimensions with a smaller standard deviation are constant.
CONSTANT = 1e-12


def scaling(train: NDArray[Any], scale: Scale) -> Callable[[NDArray[Any]], NDArray[np.float32]]:
    """Make a function that centers and scales rows by the mean and standard deviations of `train`.

    Constant dimensions are only centered. With either scale, the mean squared length of the rows of `train` becomes
    the number of dimensions that vary, so that weight decay has about the same strength.

    Parameters
    ----------
    train : ndarray
        (n, d) float.
    scale : {"common", "each"}
        "common" divides by the root mean square of the standard deviations, which preserves ratios of distances.
        "each" divides each dimension by its own standard deviation.

    Returns
    -------
    callable
        Maps (m, d) float to (m, d) float32.
    """
    mean, deviation = train.mean(0, dtype=np.float64), train.std(0, dtype=np.float64)
    varies = deviation > CONSTANT
    if scale == "common" and varies.any():
        deviation = np.full_like(deviation, np.sqrt(np.mean(deviation[varies] ** 2)))
    else:
        deviation = np.where(varies, deviation, 1.0)
    return lambda rows: ((rows - mean) / deviation).astype(np.float32)
