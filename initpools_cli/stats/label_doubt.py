"""Doubt about the labels of images, from cross-validated predictions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Keeps logarithms finite.
SMALLEST = 1e-12


def label_doubt(probs: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Compute the log-ratio of the most probable other class to the label: ``log(p_other / p_label)``.

    Above 0 the model predicts another class. The likelihood ratio was the best of the rankings tried for
    `benchmarks/review.py`: the probability of the label alone ranks images between two classes too low, the difference
    of the two probabilities ranks images that are unlike their label too low.

    Parameters
    ----------
    probs : (m, c) float
        Of models that were not trained on the image; c ≥ 2.
    labels : (m,) int64

    Returns
    -------
    (m,) float64
        Highest for the most doubtful label.
    """
    logs = np.log(np.maximum(probs, SMALLEST))
    own = np.arange(len(labels)), labels
    label = logs[own]
    logs[own] = -np.inf
    doubt: NDArray[np.float64] = logs.max(axis=1) - label
    return doubt
