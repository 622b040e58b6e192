"""Ridge regression in closed form, and its predictions of points that are left out one at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.fisher import one_thread

Floats = NDArray[np.float64]


def ridge(points: NDArray[np.float32], targets: Floats, penalty: float) -> Floats:
    """Fit targets linearly, with a penalty on the squared weights and none on the bias.

    Parameters
    ----------
    points : (m, d) float32
    targets : (m, c) float64
    penalty : float
        Relative to the mean squared length of the centered points.

    Returns
    -------
    (d + 1, c) float64
        Weights, with the bias as the last row.
    """

    def solve() -> Floats:
        centered, mean, strength = _centered(points, penalty)
        goals = targets - targets.mean(axis=0)
        m, d = centered.shape
        if m < d:
            weights = centered.T @ np.linalg.solve(centered @ centered.T + strength * np.eye(m), goals)
        else:
            weights = np.linalg.solve(centered.T @ centered + strength * np.eye(d), centered.T @ goals)
        return np.concatenate([weights, (targets.mean(axis=0) - mean @ weights)[None]])

    return one_thread(solve)


def leave_one_out(points: NDArray[np.float32], targets: Floats, penalty: float) -> Floats:
    """Predict each point by the ridge regression of all others, (m, c), with the penalty's scale of all points.

    Parameters
    ----------
    points : (m, d) float32
        m ≥ 2.
    targets : (m, c) float64
    penalty : float
        As in `ridge`.
    """

    def predict() -> Floats:
        centered, _, strength = _centered(points, penalty)
        m = len(points)
        products = centered @ centered.T
        influence = np.linalg.solve(products + strength * np.eye(m), products).T + 1 / m
        # The error without a point is its error divided by 1 − its influence on its own prediction.
        own = 1 - np.diag(influence)[:, None]
        predictions: Floats = targets - (targets - influence @ targets) / own
        return predictions

    return one_thread(predict)


def _centered(points: NDArray[np.float32], penalty: float) -> tuple[Floats, Floats, float]:
    """Return the centered points, their mean, and the penalty in the unit of squared lengths, above 0."""
    wide = np.asarray(points, np.float64)
    mean: Floats = wide.mean(axis=0)
    centered = wide - mean
    scale = float(np.einsum("ij,ij->", centered, centered)) / len(centered)
    return centered, mean, penalty * (scale or 1.0)
