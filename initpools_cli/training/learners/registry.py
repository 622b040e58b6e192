"""The registered learners and what they return."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from initpools_cli.core.registry import Registry
from initpools_cli.core.traits import Traits

#: Inputs and labels held out to choose the penalty or the epoch by.
Validation = tuple[np.ndarray, np.ndarray]


class Classifier(Protocol):
    """A fitted learner: it has `logits`, and of the rest what the trait `gives` of its registration names."""

    def logits(self, inputs: np.ndarray) -> np.ndarray:
        """(n, c) float64 of embeddings (n, d) or images (n, h, w, c), whichever the learner was fitted on."""
        ...

    def features(self, inputs: np.ndarray) -> np.ndarray:
        """(n, h) float32: what the last layer reads."""
        ...

    @property
    def head(self) -> np.ndarray:
        """(h + 1, c) float64: the last layer's weights, and its bias as the last row: logits = [features, 1] @ head."""
        ...

    def mc_logits(self, inputs: np.ndarray, *, passes: int, seed: int) -> np.ndarray:
        """(passes, n, c) float64 with dropout on and batch norm as in inference."""
        ...

    def view_logits(self, inputs: np.ndarray, *, views: int, seed: int) -> np.ndarray:
        """(views, n, c) float64 of random views of every image."""
        ...


@dataclass(frozen=True, kw_only=True)
class LearnerTraits(Traits):
    """What a learner states.

    Attributes
    ----------
    gives : tuple of str
        What a strategy may ask of it, by the names of strategies' inputs.
    presets : mapping of str to mapping
        Sets of knobs, by name; "quick" is the default.
    together : callable or None
        Fits the models (`Classifier`) of several seeds at once.
    """

    gives: tuple[str, ...]
    presets: Mapping[str, Mapping[str, Any]]
    together: Callable[..., Sequence[Any]] | None = None


learners = Registry("learner", "initpools_cli.training.learners", "initpools list learners", LearnerTraits)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities (n, c) float64; rows sum to 1."""
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def log_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean negative log-likelihood in nats."""
    from scipy.special import logsumexp

    return float(np.mean(logsumexp(logits, axis=1) - logits[np.arange(len(labels)), labels]))
