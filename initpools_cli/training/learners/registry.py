"""Registry of learners, and the interface of fitted classifiers.

Learners take labels (m,) int64, one class per image, or (m, c) int8, 0 and 1 for each class: then they have one
logistic loss per class, and their logits are those of the labels. A learner with the trait `unlabeled` also gets the
images without a label, with -1 in place of their labels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from initpools_cli.core.registry import Registry
from initpools_cli.core.traits import Traits
from initpools_cli.training.logistic import logistic_loss

#: Validation inputs and labels, to choose a penalty or an epoch.
Validation = tuple[np.ndarray, np.ndarray]


class Classifier(Protocol):
    """Fitted learner: it has `logits`, and the other outputs that its registration lists in `gives`."""

    def logits(self, inputs: np.ndarray) -> np.ndarray:
        """Compute logits (n, c) float64 of embeddings (n, d) or images (n, h, w, c), as in training."""
        ...

    def features(self, inputs: np.ndarray) -> np.ndarray:
        """Compute the inputs of the last layer, (n, h) float32."""
        ...

    @property
    def head(self) -> np.ndarray:
        """Weights of the last layer with the bias as the last row, (h + 1, c): logits = [features, 1] @ head."""
        ...

    def mc_logits(self, inputs: np.ndarray, *, passes: int, seed: int) -> np.ndarray:
        """Compute logits (passes, n, c) float64 with dropout on and batch norm as in inference."""
        ...

    def view_logits(self, inputs: np.ndarray, *, views: int, seed: int) -> np.ndarray:
        """Compute logits (views, n, c) float64 of random views of every image."""
        ...


@dataclass(frozen=True, kw_only=True)
class LearnerTraits(Traits):
    """Traits of a learner, stated at its registration.

    Attributes
    ----------
    gives : tuple of str
        The outputs that it provides, by the names of strategies' inputs.
    presets : mapping of str to mapping
        Sets of knobs, by name; "quick" is the default.
    together : callable or None
        Fits the models (`Classifier`) of several seeds at once.
    unlabeled : bool
        Whether it also reads the images without a label (semi-supervised learning).
    multilabel : bool
        Whether it can learn several labels per image.
    """

    gives: tuple[str, ...]
    presets: Mapping[str, Mapping[str, Any]]
    together: Callable[..., Sequence[Any]] | None = None
    unlabeled: bool = False
    multilabel: bool = True


learners = Registry("learner", "initpools_cli.training.learners", "initpools list learners", LearnerTraits)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Compute probabilities (n, c) float64; rows sum to 1."""
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


def log_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """Compute the mean negative log-likelihood in nats; with labels (n, c) the mean logistic loss."""
    from scipy.special import logsumexp

    if labels.ndim == 2:
        return logistic_loss(logits, labels)
    return float(np.mean(logsumexp(logits, axis=1) - logits[np.arange(len(labels)), labels]))
