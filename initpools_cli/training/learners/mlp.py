"""Learner `mlp`: network with one hidden layer on embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import nn

from initpools_cli.core.bounds import Count, Factor, Passes, PositiveCount, PositiveFactor, Units
from initpools_cli.core.seeds import derive, generator
from initpools_cli.networks.build import Encoder, seeded
from initpools_cli.training.device import as_tensor
from initpools_cli.training.learners.registry import Validation, learners, log_loss
from initpools_cli.training.network import Network, drop
from initpools_cli.training.trainer import Optimizer, Schedule, TrainConfig, Trainer

ROWS = 4096


class HiddenLayer(Encoder):
    """Hidden layer with batch norm and ReLU: (b, d) to (b, features)."""

    def __init__(self, inputs: int, features: int, seed: int) -> None:
        super().__init__(features)
        with seeded(seed, "hidden"):
            self.layers = nn.Sequential(nn.Linear(inputs, features), nn.BatchNorm1d(features), nn.ReLU())

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map (b, d) to (b, features), at least 0."""
        features: torch.Tensor = self.layers(inputs)
        return features


@dataclass(frozen=True)
class Perceptron:
    """Fitted multilayer perceptron."""

    network: Network
    device: torch.device

    def logits(self, inputs: np.ndarray) -> np.ndarray:
        """Compute logits, (n, c) float64."""
        return (self.features(inputs) @ self.head[:-1].astype(np.float32)).astype(np.float64) + self.head[-1]

    def features(self, inputs: np.ndarray) -> np.ndarray:
        """Compute the hidden layer without dropout, (n, h) float32."""
        return np.concatenate([self._hidden(block) for _, block in _blocks(inputs)])

    @property
    def head(self) -> np.ndarray:
        """Weights of the last layer with its bias as the last row, (h + 1, c) float64."""
        return self.network.last

    def mc_logits(self, inputs: np.ndarray, *, passes: int, seed: int) -> np.ndarray:
        """Compute logits (passes, n, c) float64 with dropout before both layers and batch norm as in inference."""
        head, share = self.head, self.network.dropout
        logits = np.empty((passes, len(inputs), head.shape[1]))
        for number in range(passes):
            rng = generator(seed, "pass", number)
            for rows, block in _blocks(inputs):
                features = drop(torch.from_numpy(self._hidden(block, rng)), share, rng)
                logits[number, rows] = features.numpy() @ head[:-1].astype(np.float32) + head[-1]
        return logits

    @torch.inference_mode()
    def _hidden(self, block: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        self.network.eval()
        inputs = as_tensor(block, self.device)
        if rng is not None:
            inputs = drop(inputs, self.network.dropout, rng)
        features: np.ndarray = self.network.encoder(inputs).cpu().numpy()
        return features


def _blocks(inputs: np.ndarray) -> list[tuple[slice, np.ndarray]]:
    spans = [slice(start, min(start + ROWS, len(inputs))) for start in range(0, len(inputs), ROWS)]
    return [(span, inputs[span]) for span in spans]


@learners.register(
    gives=("probs", "features", "head", "mc_probs", "member_probs"),
    presets={
        "quick": {},
        "reference": {
            "epochs": 100,
            "steps": 0,
            "batch": 512,
            "optimizer": "sgd",
            "lr": 0.2,
            "schedule": "cosine",
            "weight_decay": 3e-4,
        },
    },
)
def mlp(
    embeddings: np.ndarray,
    labels: np.ndarray,
    classes: int,
    seed: int,
    device: torch.device,
    validation: Validation | None = None,
    *,
    hidden: Units = 512,
    epochs: Passes = 10,
    steps: Count = 60,
    batch: PositiveCount = 128,
    optimizer: Optimizer = "adamw",
    lr: PositiveFactor = 1e-3,
    schedule: Schedule = "cosine",
    weight_decay: Factor = 1e-2,
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1,
) -> Perceptron:
    """Network with one hidden layer on embeddings, with batch norm, ReLU, and dropout before and after it.

    Trained for `epochs`, or as many as `steps` steps need. Keeps the last weights or, with validation, those of the
    epoch with the lowest validation log-loss.

    Parameters
    ----------
    embeddings : ndarray
        (m, d) float, centered and scaled by the caller.
    labels : ndarray
        (m,) int64, or (m, c) int8.
    classes : int
        c.
    seed : int
        Determines initialization, order and dropout.
    device : torch.device
        Device of the network.
    validation : (embeddings, labels), optional
        Validation set, evaluated after every epoch.
    hidden : int
        Width of the hidden layer.
    optimizer, schedule : str
        See `TrainConfig`.
    dropout : float
        Share of inputs and features dropped in training and in `mc_logits`, not in `logits`.
    """
    root = derive(seed, "mlp")
    model = Perceptron(Network(HiddenLayer(embeddings.shape[1], hidden, root), classes, root, dropout), device)
    inputs, rng = as_tensor(embeddings, device), generator(seed, "inputs")
    trainer = Trainer(
        model.network,
        lambda rows, epoch: drop(inputs[as_tensor(rows, device)], dropout, rng),
        labels,
        TrainConfig(epochs, steps, batch, optimizer, lr, weight_decay, schedule),
        seed,
        device,
    )
    trainer.run(None if validation is None else lambda: log_loss(model.logits(validation[0]), validation[1]))
    return model
