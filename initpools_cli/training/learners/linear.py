"""Learner `linear`: multinomial logistic regression on embeddings, for several seeds at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from initpools_cli.core.bounds import PositiveFactor
from initpools_cli.training.batched_lbfgs import minimize
from initpools_cli.training.learners.registry import Validation, learners, log_loss
from initpools_cli.training.logistic import logistic_objective

#: Penalties tried with validation.
GRID = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


@dataclass(frozen=True)
class Linear:
    """Fitted linear classifier on embeddings.

    Attributes
    ----------
    head : (d + 1, c) float64
        Weights, with the bias as the last row.
    """

    head: NDArray[np.float64]

    def logits(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Compute logits (n, c) float64, multiplied in the precision of the inputs."""
        weight = self.head[:-1].astype(inputs.dtype)
        result: NDArray[np.float64] = (inputs @ weight).astype(np.float64) + self.head[-1]
        return result

    def features(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the inputs themselves."""
        return inputs


def fit_together(
    embeddings: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: int,
    seeds: Sequence[int],
    device: object,
    validation: Sequence[Validation] | None = None,
    *,
    penalty: float,
    tolerance: float,
) -> list[Linear]:
    """Fit `linear` for several seeds at once, each with its own images and the same result as alone.

    Parameters
    ----------
    embeddings : (s, m, d) float
    labels : (s, m) int64, or (s, m, c) int8
    classes : int
    seeds, device
        Unused.
    validation : sequence of (embeddings, labels), optional
        One per seed.

    Returns
    -------
    list of Linear
    """
    if validation is None:
        return solve(embeddings, labels, classes, penalty, tolerance)
    by_penalty = [solve(embeddings, labels, classes, candidate, tolerance) for candidate in GRID]
    return [
        min(models, key=lambda model: log_loss(model.logits(held_out[0]), held_out[1]))
        for held_out, *models in zip(validation, *by_penalty, strict=True)
    ]


@learners.register(
    paper="Kornblith et al. 2019, arXiv:1805.08974 (linear evaluation)",
    gives=("probs", "features", "head"),
    presets={"quick": {"tolerance": 1e-5}, "reference": {"tolerance": 1e-9}},
    together=fit_together,
)
def linear(
    embeddings: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: int,
    seed: int,
    device: object,
    validation: Validation | None = None,
    *,
    penalty: PositiveFactor = 0.1,
    tolerance: Annotated[float, Field(gt=0, le=1e-2)] = 1e-5,
) -> Linear:
    """Logistic regression on embeddings with an L2 penalty, solved to convergence and without randomness.

    Minimizes ``mean cross-entropy + penalty / 2 * (||weight||² + ||bias||²)`` over all classes, labeled or not. The
    bias is penalized too; otherwise the probability of a class without labels would go to zero. With several labels per
    image it is an independent logistic regression of each class with the same penalty.

    Parameters
    ----------
    embeddings : ndarray
        (m, d) float, centered and scaled by the caller.
    labels : ndarray
        (m,) int64, or (m, c) int8.
    classes : int
        c.
    seed, device
        Unused.
    validation : (embeddings, labels), optional
        If present, the penalty is the value of a fixed grid with the lowest validation log-loss.
    tolerance : float
        Largest absolute entry of the gradient at convergence.
    """
    held_out = None if validation is None else [validation]
    models = fit_together(
        embeddings[None], labels[None], classes, [seed], device, held_out, penalty=penalty, tolerance=tolerance
    )
    return models[0]


def solve(
    embeddings: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: int,
    penalty: float,
    tolerance: float,
    start: NDArray[np.float64] | None = None,
) -> list[Linear]:
    """Minimize the objective of `linear` for several seeds; shapes as for `fit_together`.

    Parameters
    ----------
    start : (s, d + 1, c) float64, optional
        Heads to start from; default: zeros. The minimum does not depend on it.
    """
    count, images, _ = embeddings.shape
    inputs = np.concatenate([embeddings, np.ones((count, images, 1))], axis=2, dtype=np.float64)
    inputs_t = np.ascontiguousarray(inputs.transpose(0, 2, 1))
    multilabel = labels.ndim == 3
    target = labels if multilabel else np.eye(classes)[labels]

    def objective(head: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if multilabel:
            value, error = logistic_objective(inputs, target, head)
            return value + 0.5 * penalty * (head * head).sum(axis=(1, 2)), inputs_t @ error + penalty * head
        logits = inputs @ head
        largest = logits.max(axis=-1, keepdims=True)
        probs = np.exp(logits - largest)
        total = probs.sum(axis=-1, keepdims=True)
        loss = (np.log(total) + largest)[..., 0] - (logits * target).sum(axis=-1)
        error = (probs / total - target) / images
        value = loss.mean(axis=-1) + 0.5 * penalty * (head * head).sum(axis=(1, 2))
        return value, inputs_t @ error + penalty * head

    if start is None:
        start = np.zeros((count, inputs.shape[2], classes))
    return [Linear(head) for head in minimize(objective, start, tolerance)]
