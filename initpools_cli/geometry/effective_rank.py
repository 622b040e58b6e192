"""Effective rank of a set of vectors (RankMe)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# The paper's value for float32 features.
EPSILON = 1e-7


def rankme(features: NDArray[np.floating]) -> float:
    """Compute RankMe, the exponential of the entropy of the normalized singular values.

    Garrido et al. 2023, arXiv:2210.02885.

    ``exp(-sum p_k ln p_k)`` with ``p_k = s_k / (s_1 + s_2 + …) + 1e-7``. The features are not centered.

    Parameters
    ----------
    features : (n, d) float
        Finite.

    Returns
    -------
    float
        From 1 to min(n, d), up to the epsilon; 0 where all features are 0.
    """
    # Divided by the largest number, so that no square overflows or underflows.
    largest = float(np.abs(features).max(initial=0.0))
    if largest == 0:
        return 0.0
    x = np.divide(features, largest, dtype=np.float64)
    # The eigenvalues of the smaller Gram matrix are the squared singular values; the precision lost is below epsilon.
    products = x.T @ x if x.shape[0] > x.shape[1] else x @ x.T
    values = np.sqrt(np.maximum(np.linalg.eigvalsh(products), 0.0))
    shares = values / values.sum() + EPSILON
    return float(np.exp(-np.sum(shares * np.log(shares))))
