"""Confidence interval of a prediction error by nested cross-validation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class NestedInterval(NamedTuple):
    """Bias-corrected error with its interval.

    Attributes
    ----------
    error, low, high : float
        Not limited to [0, 1].
    bias : float
        Estimated bias of nested cross-validation, already subtracted.
    inflation : float
        Standard error divided by that of independent errors, from 1 to √K.
    """

    error: float
    low: float
    high: float
    bias: float
    inflation: float


def nested_interval(errors: NDArray[np.float64], folds: NDArray[np.int64], level: float = 0.95) -> NestedInterval:
    """Compute the interval of Bates, Hastie & Tibshirani (2021, arXiv:2104.00673, algorithm 1 and section 4.3).

    As in the authors' code, the inflation is limited to [1, √K], and the exponent in the bias is 1.5. Deviation: the
    error of plain cross-validation, which the bias needs, comes from the same repetitions, not from new ones.

    Parameters
    ----------
    errors : (r, n, K) float
        Of each repetition: column k has the error of each item by the model fitted without fold k and without the
        item's own fold. The column of the item's own fold is plain cross-validation.
    folds : (r, n) int64
        Fold of each item in each repetition, from 0 to K − 1; at least two items in each fold.
    level : float
        Confidence level, between 0 and 1.

    Returns
    -------
    NestedInterval
    """
    from scipy.stats import norm

    _, items, count = errors.shape
    own = folds[..., None] == np.arange(count)
    size = own.sum(1)
    outer = (errors * own).sum(1) / size
    variances = ((errors - outer[:, None, :]) ** 2 * own).sum(1) / (size - 1)
    inner = (errors * ~own).sum(1) / (items - size)
    variance = float(np.mean((inner - outer) ** 2) - np.mean(variances / size))
    deviation = float(errors[~own].std(ddof=1))
    inflation = 1.0
    if deviation > 0:
        ratio = np.sqrt(max(variance, 0.0)) / (deviation / np.sqrt(items * (count - 1) / count))
        inflation = float(np.clip(ratio, 1.0, np.sqrt(count)))
    mean_error = float(errors[~own].mean())
    bias = (1 + ((count - 2) / count) ** 1.5) * (mean_error - float(errors[own].mean()))
    half = float(norm.ppf((1 + level) / 2)) * deviation / np.sqrt(items) * inflation
    return NestedInterval(mean_error - bias, mean_error - bias - half, mean_error - bias + half, bias, inflation)
