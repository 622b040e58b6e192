"""Multinomial logistic regression on frozen embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from initpools_cli.training.learners.registry import Validation, learners, log_loss, softmax

#: Penalties tried where a validation policy pays for the choice.
GRID = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


@dataclass(frozen=True)
class Linear:
    """Fitted weights: (d, c) and (c,)."""

    weight: np.ndarray
    bias: np.ndarray

    def logits(self, inputs: np.ndarray) -> np.ndarray:
        """(n, c) float64."""
        return inputs @ self.weight + self.bias


@learners.register(paper="Kornblith et al. 2019, arXiv:1805.08974 (linear evaluation)")
def linear(
    embeddings: np.ndarray,
    labels: np.ndarray,
    classes: int,
    seed: int,
    device: object,
    validation: Validation | None = None,
    *,
    penalty: Annotated[float, Field(gt=0)] = 0.1,
) -> Linear:
    """Logistic regression with an L2 penalty, solved to convergence: convex, so without randomness of its own.

    Minimises ``mean cross-entropy + penalty / 2 * (||weight||² + ||bias||²)`` over all classes, seen or not. The bias
    is penalised too: left free, it would drive the probability of a class without labels to zero, and the
    log-likelihood with it.

    Parameters
    ----------
    embeddings : ndarray
        (m, d) float, standardised by the caller.
    labels : ndarray
        (m,) int64.
    classes : int
        c.
    seed, device
        Unused: the problem is convex and small.
    validation : (embeddings, labels), optional
        Where given, the penalty is the one of a fixed grid with the lowest log-loss on it.
    """
    if validation is not None:
        fitted = [_solve(embeddings, labels, classes, candidate) for candidate in GRID]
        return min(fitted, key=lambda model: log_loss(model.logits(validation[0]), validation[1]))
    return _solve(embeddings, labels, classes, penalty)


def _solve(embeddings: np.ndarray, labels: np.ndarray, classes: int, penalty: float) -> Linear:
    from scipy.optimize import minimize

    inputs = embeddings.astype(np.float64)
    count, size = inputs.shape
    target = np.eye(classes)[labels]

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weight, bias = flat[: size * classes].reshape(size, classes), flat[size * classes :]
        logits = inputs @ weight + bias
        error = (softmax(logits) - target) / count
        value = log_loss(logits, labels) + 0.5 * penalty * float(flat @ flat)
        return value, np.concatenate([(inputs.T @ error).ravel(), error.sum(0)]) + penalty * flat

    start = np.zeros((size + 1) * classes)
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 500, "gtol": 1e-6}).x
    return Linear(found[: size * classes].reshape(size, classes), found[size * classes :])
