"""Embeddings centered and scaled for what is trained on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

#: "common" divides all dimensions by one number, "each" every dimension by its own standard deviation.
Scale = Literal["common", "each"]
#: Dimensions that deviate less are constant.
CONSTANT = 1e-12


def scaling(train: NDArray[Any], scale: Scale) -> Callable[[NDArray[Any]], NDArray[np.float32]]:
    """The function that centers and scales rows by the mean and the standard deviations of `train`.

    Constant dimensions are centered only. With either scale, the mean squared length of the rows of `train` becomes
    the number of dimensions that vary, so that a penalty on weights means about the same.

    Parameters
    ----------
    train : ndarray
        (n, d) float.
    scale : {"common", "each"}
        "common" divides by the root mean square of the standard deviations: ratios of distances stay as they are.
        "each" divides each dimension by its own.

    Returns
    -------
    callable
        Of (m, d) float, gives (m, d) float32.
    """
    mean, deviation = train.mean(0, dtype=np.float64), train.std(0, dtype=np.float64)
    varies = deviation > CONSTANT
    if scale == "common" and varies.any():
        deviation = np.full_like(deviation, np.sqrt(np.mean(deviation[varies] ** 2)))
    else:
        deviation = np.where(varies, deviation, 1.0)
    return lambda rows: ((rows - mean) / deviation).astype(np.float32)
