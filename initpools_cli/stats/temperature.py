"""Temperature scaling: one number that calibrates the confidence of a classifier."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Standard deviation of the prior of log T: the best of seven strengths in benchmarks/confidence.py.
PRIOR = 0.25
#: Temperatures from 1/50 to 50.
LARGEST = float(np.log(50))


def fit_temperature(logits: NDArray[np.float64], labels: NDArray[np.int64], prior: float = PRIOR) -> float:
    """Fit the temperature T by which logits are divided (Guo et al. 2017, arXiv:1706.04599).

    Minimizes the negative log-likelihood of the labels plus ``(log T)² / (2 prior²)``: a Gaussian prior of log T
    around 0, which keeps T near 1 when there are few labels. The paper has many labels and no prior.

    Parameters
    ----------
    logits : (n, c) float
        Of images that the model was not trained on.
    labels : (n,) int64
    prior : float
        Standard deviation of log T; infinity for no prior.

    Returns
    -------
    float
        T, between 1/50 and 50; above 1 it lowers the confidence.
    """
    from scipy.optimize import minimize_scalar

    # Only differences of logits count; of these the largest bounds the exponents.
    offsets = logits - logits.max(axis=1, keepdims=True)
    label_offsets = offsets[np.arange(len(labels)), labels]

    def loss(log_t: float) -> float:
        scale = np.exp(-log_t)
        likelihood = label_offsets * scale - np.log(np.exp(offsets * scale).sum(axis=1))
        return float(-likelihood.sum() + 0.5 * (log_t / prior) ** 2)

    grid = np.linspace(-LARGEST, LARGEST, 41)
    best = int(np.argmin([loss(each) for each in grid]))
    minimum = minimize_scalar(
        loss, bounds=(grid[max(best - 1, 0)], grid[min(best + 1, 40)]), method="bounded", options={"xatol": 1e-9}
    )
    # The bounded search ends just inside its interval: the best may be the end of the grid.
    return float(np.exp(min((minimum.x, grid[best]), key=loss)))
