"""The vote of the nearest labeled images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.bounds import PositiveCount, PositiveFactor
from initpools_cli.geometry.normalize import unit_rows
from initpools_cli.training.learners.registry import Validation, learners, log_loss

#: Numbers of neighbors tried where a validation policy pays for the choice.
GRID = (1, 3, 5, 10, 20, 50)
ROWS = 4096
#: Cosines that differ by less are equal, but for the rounding of float32 products.
SAME = 1e-5


@dataclass(frozen=True)
class Neighbors:
    """Labeled images that vote.

    Attributes
    ----------
    embeddings : (m, d) float32, unit rows
    labels : (m,) int64
    classes, k : int
    temperature, smoothing : float
    """

    embeddings: NDArray[np.float32]
    labels: NDArray[np.int64]
    classes: int
    k: int
    temperature: float
    smoothing: float

    def logits(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """(n, c) float64: the logarithm of the smoothed shares of the vote."""
        k = min(self.k, len(self.labels))
        votes = np.eye(self.classes)[self.labels]
        found = np.empty((len(inputs), self.classes))
        for start in range(0, len(inputs), ROWS):
            block = unit_rows(inputs[start : start + ROWS])
            cosines = (block @ self.embeddings.T).astype(np.float64)
            farthest = -np.partition(-cosines, k - 1, axis=1)[:, k - 1 : k]
            nearness = (cosines - cosines.max(axis=1, keepdims=True)) / self.temperature
            weights = np.where(cosines > farthest - SAME, np.exp(nearness), 0.0)
            shares = weights @ votes / weights.sum(axis=1, keepdims=True)
            smoothed = (k * shares + self.smoothing) / (k + self.classes * self.smoothing)
            found[start : start + len(block)] = np.log(smoothed)
        return found

    def features(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Where it measures: the inputs at length 1."""
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
    """The k nearest labeled images by cosine vote for their class, each with weight exp(cosine / temperature).

    Deviation from the paper: the shares of the vote are smoothed as if every class had `smoothing` more votes of k, so
    that no class has probability zero, and the log-likelihood is finite.

    Parameters
    ----------
    embeddings : ndarray
        (m, d) float.
    labels : ndarray
        (m,) int64.
    classes : int
        c.
    seed, device
        Unused: nothing is random, and little is computed.
    validation : (embeddings, labels), optional
        Where given, k is the one of a fixed grid with the lowest log-loss on it.
    k : int
        All labeled images where they are fewer; where several are as near as the k-th, all of these vote.
    """
    unit = unit_rows(embeddings)
    if validation is None:
        return Neighbors(unit, labels, classes, k, temperature, smoothing)
    tried = [Neighbors(unit, labels, classes, each, temperature, smoothing) for each in GRID]
    return min(tried, key=lambda model: log_loss(model.logits(validation[0]), validation[1]))
