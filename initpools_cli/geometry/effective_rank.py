"""How many directions a set of vectors really spans."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# The paper's, for numbers that were computed in float32.
EPSILON = 1e-7


def rankme(features: NDArray[np.floating]) -> float:
    """RankMe: the exponential of the entropy of the normalized singular values (Garrido et al. 2023, arXiv:2210.02885).

    ``exp(-sum p_k ln p_k)`` with ``p_k = s_k / (s_1 + s_2 + …) + 1e-7``. The features are not centered: rows that all
    lie along one direction have rank 1, wherever the origin is.

    Parameters
    ----------
    features : (n, d) float
        Finite.

    Returns
    -------
    float
        From 1 to min(n, d), but for the epsilon; 0 where every number is 0.
    """
    # The largest number first, so that no square overflows or vanishes.
    largest = float(np.abs(features).max(initial=0.0))
    if largest == 0:
        return 0.0
    scaled = np.divide(features, largest, dtype=np.float64)
    # The products of the shorter side have the squares of the singular values; what squaring loses is below epsilon.
    products = scaled.T @ scaled if scaled.shape[0] > scaled.shape[1] else scaled @ scaled.T
    values = np.sqrt(np.maximum(np.linalg.eigvalsh(products), 0.0))
    shares = values / values.sum() + EPSILON
    return float(np.exp(-np.sum(shares * np.log(shares))))
