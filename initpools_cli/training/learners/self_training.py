"""Learner `self-training`: `linear`, trained on its own confident predictions too."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from initpools_cli.core.bounds import Passes, PositiveFactor
from initpools_cli.datasets.multilabel import labeled_rows
from initpools_cli.training.learners.linear import Linear, solve
from initpools_cli.training.learners.registry import Validation, learners, log_loss, softmax
from initpools_cli.training.logistic import sigmoid

#: Thresholds tried with validation; 1 is `linear`.
GRID = (0.45, 0.6, 0.75, 0.9, 1.0)


@learners.register(
    paper="Yarowsky 1995, ACL (self-training)",
    gives=("probs", "features", "head"),
    presets={"quick": {"tolerance": 1e-5}, "reference": {"tolerance": 1e-9}},
    unlabeled=True,
)
def self_training(
    embeddings: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: int,
    seed: int,
    device: object,
    validation: Validation | None = None,
    *,
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.6,
    iterations: Passes = 10,
    penalty: PositiveFactor = 0.1,
    tolerance: Annotated[float, Field(gt=0, le=1e-2)] = 1e-5,
) -> Linear:
    """Logistic regression as in `linear`, trained again with its predictions that are more probable than a threshold.

    In each iteration, every image without a label whose most probable class exceeds the threshold gets that class as
    its label for good, as in scikit-learn's `SelfTrainingClassifier`. It ends when no image does, and after
    `iterations`. With several labels per image, each of them has to exceed the threshold, as present or as absent.

    Parameters
    ----------
    embeddings : ndarray
        (n, d) float, of all images, centered and scaled by the caller.
    labels : ndarray
        (n,) int64, or (n, c) int8; -1 for images without a label.
    classes : int
        c.
    seed, device
        Unused.
    validation : (embeddings, labels), optional
        If present, the threshold is the value of a fixed grid with the lowest validation log-loss.
    threshold : float
        1: no image gets a predicted label, as in `linear`.
    iterations : int
        Maximum.
    penalty, tolerance : float
        As in `linear`.
    """

    def fit(least: float) -> Linear:
        pseudo_labels, start = labels.copy(), None
        for _ in range(iterations):
            rows = labeled_rows(pseudo_labels)
            model = solve(embeddings[rows][None], pseudo_labels[rows][None], classes, penalty, tolerance, start)[0]
            start = model.head[None]
            rest = np.setdiff1d(np.arange(len(pseudo_labels)), rows)
            predictions, confidence = _predictions(model.logits(embeddings[rest]), multilabel=labels.ndim == 2)
            is_sure = confidence > least
            if not is_sure.any():
                return model
            pseudo_labels[rest[is_sure]] = predictions[is_sure]
        rows = labeled_rows(pseudo_labels)
        return solve(embeddings[rows][None], pseudo_labels[rows][None], classes, penalty, tolerance, start)[0]

    if validation is None:
        return fit(threshold)
    return min(map(fit, GRID), key=lambda model: log_loss(model.logits(validation[0]), validation[1]))


def _predictions(logits: NDArray[np.float64], *, multilabel: bool) -> tuple[NDArray[np.integer], NDArray[np.float64]]:
    """Return the most probable label of each image, and its probability: that of the least certain of its labels."""
    if multilabel:
        probs = sigmoid(logits)
        return (probs > 0.5).astype(np.int8), np.maximum(probs, 1 - probs).min(axis=1)
    probs = softmax(logits)
    return probs.argmax(axis=1), probs.max(axis=1)
