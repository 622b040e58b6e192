"""Batches of an ensemble of strategies on subsets of the images, for strategies that combine others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from initpools_cli.strategies.alfamix import alfamix
from initpools_cli.strategies.badge import badge
from initpools_cli.strategies.dropquery import dropquery
from initpools_cli.strategies.kcenter import kcenter
from initpools_cli.strategies.margin import margin
from initpools_cli.strategies.maxherding import maxherding
from initpools_cli.strategies.selection import Selection
from initpools_cli.strategies.typiclust import typiclust
from initpools_cli.strategies.uherding import uherding

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class ModelArrays:
    """Embeddings of n images and the outputs of a model for them.

    Attributes
    ----------
    embeddings : (n, d) float32
    features : (n, h) float32
        Inputs of the last layer.
    head : (h + 1, c) float64
        Weights of the last layer, with the bias as the last row.
    probs : (n, c) float64
    labeled : (m,) int64
    labels : (n,) int64, optional
        Bought labels, -1 elsewhere.
    """

    embeddings: NDArray[np.float32]
    features: NDArray[np.float32]
    head: NDArray[np.float64]
    probs: NDArray[np.float64]
    labeled: Indices
    labels: Indices | None = None

    def choose(self, name: str, candidates: Indices, budget: int, rng: np.random.Generator) -> Indices:
        """Let a strategy of the ensemble choose `budget` of the candidates, which it sees with the labeled images.

        Parameters
        ----------
        name : str
            Of `MEMBERS`.
        candidates : (k,) int64
            Unlabeled images.
        budget : int
            ≤ k.
        rng : numpy.random.Generator
        """
        rows = np.union1d(candidates, self.labeled)
        arrays = ModelArrays(
            np.ascontiguousarray(self.embeddings[rows]),
            np.ascontiguousarray(self.features[rows]),
            self.head,
            self.probs[rows],
            np.searchsorted(rows, self.labeled),
            None if self.labels is None else self.labels[rows],
        )
        picks: Indices = rows[MEMBERS[name](arrays, budget, rng).indices]
        return picks


def _random(arrays: ModelArrays, budget: int, rng: np.random.Generator) -> Selection:
    free = np.setdiff1d(np.arange(len(arrays.probs)), arrays.labeled, assume_unique=True)
    return Selection(rng.choice(free, budget, replace=False))


MEMBERS: Mapping[str, Callable[[ModelArrays, int, np.random.Generator], Selection]] = {
    "random": _random,
    "margin": lambda arrays, budget, rng: margin(arrays.probs, arrays.labeled, budget),
    "badge": lambda arrays, budget, rng: badge(arrays.features, arrays.probs, arrays.labeled, budget, rng),
    "typiclust": lambda arrays, budget, rng: typiclust(arrays.embeddings, arrays.labeled, budget, rng),
    "alfamix": lambda arrays, budget, rng: alfamix(
        arrays.features, arrays.head, arrays.labeled, budget, rng, arrays.labels
    ),
    "dropquery": lambda arrays, budget, rng: dropquery(arrays.features, arrays.head, arrays.labeled, budget, rng),
    "kcenter": lambda arrays, budget, rng: kcenter(arrays.embeddings, arrays.labeled, budget, rng),
    "maxherding": lambda arrays, budget, rng: maxherding(arrays.embeddings, arrays.labeled, budget, rng),
    "uherding": lambda arrays, budget, rng: uherding(arrays.embeddings, arrays.labeled, budget, rng, arrays.probs),
}
