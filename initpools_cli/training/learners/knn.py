"""Learner `knn`: weighted vote of the nearest labeled images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.bounds import PositiveCount, PositiveFactor
from initpools_cli.geometry.normalize import unit_rows
from initpools_cli.training.learners.registry import Validation, learners, log_loss

#: Numbers of neighbors tried with validation.
GRID = (1, 3, 5, 10, 20, 50)
ROWS = 4096
#: Cosines that differ by less are ties up to the rounding of float32 products.
SAME = 1e-5


@dataclass(frozen=True)
class Neighbors:
    """Fitted k-NN classifier.

    Attributes
    ----------
    embeddings : (m, d) float32, unit rows
    labels : (m,) int64, or (m, c) int8
    classes, k : int
    temperature, smoothing : float
    """

    embeddings: NDArray[np.float32]
    labels: NDArray[np.integer]
    classes: int
    k: int
    temperature: float
    smoothing: float

    def logits(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Compute the logarithms of the smoothed vote shares, or of the odds of several labels, (n, c)."""
        k = min(self.k, len(self.labels))
        multilabel = self.labels.ndim == 2
        votes = self.labels if multilabel else np.eye(self.classes)[self.labels]
        logits = np.empty((len(inputs), self.classes))
        for start in range(0, len(inputs), ROWS):
            block = unit_rows(inputs[start : start + ROWS])
            cosines = (block @ self.embeddings.T).astype(np.float64)
            farthest = -np.partition(-cosines, k - 1, axis=1)[:, k - 1 : k]
            nearness = (cosines - cosines.max(axis=1, keepdims=True)) / self.temperature
            weights = np.where(cosines > farthest - SAME, np.exp(nearness), 0.0)
            shares = weights @ votes / weights.sum(axis=1, keepdims=True)
            # Each label is a vote of two classes: yes or no.
            count = 2 if multilabel else self.classes
            probs = (k * shares + self.smoothing) / (k + count * self.smoothing)
            logits[start : start + len(block)] = np.log(probs / (1 - probs) if multilabel else probs)
        return logits

    def features(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the L2-normalized inputs."""
        return unit_rows(inputs)


@learners.register(
    paper="Wu et al. 2018, arXiv:1805.01978",
    gives=("probs", "features"),
    presets={"quick": {}, "reference": {"k": 200}},
)
def knn(
    embeddings: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: int,
    seed: int,
    device: object,
    validation: Validation | None = None,
    *,
    k: PositiveCount = 20,
    temperature: PositiveFactor = 0.07,
    smoothing: PositiveFactor = 0.3,
) -> Neighbors:
    """Vote of the k nearest labeled images by cosine similarity, with weights exp(cosine / temperature).

    Deviation from the paper: the vote shares are smoothed as if every class had `smoothing` more of the k votes, so
    that no class has probability zero and the log-likelihood is finite. With several labels per image there is a vote
    on each label.

    Parameters
    ----------
    embeddings : ndarray
        (m, d) float.
    labels : ndarray
        (m,) int64, or (m, c) int8.
    classes : int
        c.
    seed, device
        Unused.
    validation : (embeddings, labels), optional
        If present, k is the value of a fixed grid with the lowest validation log-loss.
    k : int
        Number of neighbors, at most all labeled images; all images tied with the k-th vote.
    """
    unit = unit_rows(embeddings)
    if validation is None:
        return Neighbors(unit, labels, classes, k, temperature, smoothing)
    models = [Neighbors(unit, labels, classes, each, temperature, smoothing) for each in GRID]
    return min(models, key=lambda model: log_loss(model.logits(validation[0]), validation[1]))
