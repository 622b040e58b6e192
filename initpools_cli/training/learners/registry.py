"""The registered learners and what they return."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from initpools_cli.core.registry import Registry

learners = Registry("learner", "initpools_cli.training.learners", "initpools list learners")

#: Inputs and labels held out to choose the penalty or the epoch by.
Validation = tuple[np.ndarray, np.ndarray]


class Classifier(Protocol):
    """A fitted learner."""

    def logits(self, inputs: np.ndarray) -> np.ndarray:
        """(n, c) float64 of embeddings (n, d) or images (n, h, w, c), whichever the learner was fitted on."""
        ...


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities (n, c) float64; rows sum to 1."""
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def log_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean negative log-likelihood in nats."""
    from scipy.special import logsumexp

    return float(np.mean(logsumexp(logits, axis=1) - logits[np.arange(len(labels)), labels]))
