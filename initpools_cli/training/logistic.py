"""One logistic loss per class, for several labels per image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def sigmoid(logits: Floats) -> Floats:
    """Compute the probability of each label, of the shape of `logits`."""
    from scipy.special import expit

    probs: Floats = expit(logits)
    return probs


def logistic_loss(logits: Floats, labels: NDArray[np.int8]) -> float:
    """Compute the mean logistic loss over images and classes, in nats.

    Parameters
    ----------
    logits : (n, c) float64
    labels : (n, c) int8
        0 and 1.
    """
    return float((np.logaddexp(0, logits) - labels * logits).mean())


def logistic_objective(inputs: Floats, labels: NDArray[Any], head: Floats) -> tuple[Floats, Floats]:
    """Compute Σ over classes of the mean logistic loss, (s,), and the gradient of it by logit, (s, m, c).

    Parameters
    ----------
    inputs : (s, m, d) float64
    labels : (s, m, c) int8
    head : (s, d, c) float64
        Weights.
    """
    logits = inputs @ head
    losses = np.logaddexp(0, logits) - labels * logits
    return losses.sum(axis=-1).mean(axis=-1), (sigmoid(logits) - labels) / inputs.shape[1]
