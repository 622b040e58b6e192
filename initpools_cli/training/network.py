"""Classifier networks: encoder, dropout and linear head, in training and inference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from initpools_cli.augment.draws import Draws
from initpools_cli.augment.pipelines import augment, to_float
from initpools_cli.core.seeds import generator
from initpools_cli.networks.build import Encoder, seeded
from initpools_cli.training.device import as_tensor

INFERENCE_BATCH = 512


class Network(nn.Module):
    """Encoder and linear head, with dropout between them.

    Parameters
    ----------
    encoder : Encoder
    classes : int
    seed : int
        Determines the initial weights of the head.
    dropout : float
        Share of features dropped in training; `forward` drops none.
    """

    def __init__(self, encoder: Encoder, classes: int, seed: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = dropout
        with seeded(seed, "head"):
            self.head = nn.Linear(encoder.features, classes)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Compute logits (b, c) of inputs of the encoder."""
        logits: torch.Tensor = self.head(self.encoder(inputs))
        return logits

    @property
    def last(self) -> np.ndarray:
        """Weights of the head with its bias as the last row, (h + 1, c) float64."""
        both = torch.cat([self.head.weight.detach().T, self.head.bias.detach()[None]])
        return both.cpu().double().numpy()


@dataclass(frozen=True)
class TrainedNetwork:
    """Network trained on images."""

    network: Network
    device: torch.device

    def logits(self, inputs: np.ndarray) -> np.ndarray:
        """Compute logits (n, c) float64 of unaugmented uint8 images (n, h, w, channels)."""
        return self._pass(inputs, lambda images, ids: self.network(to_float(images))).astype(np.float64)

    def features(self, inputs: np.ndarray) -> np.ndarray:
        """Compute the inputs of the last layer, (n, h) float32, for unaugmented images, without dropout."""
        return self._pass(inputs, lambda images, ids: self.network.encoder(to_float(images)))

    @property
    def head(self) -> np.ndarray:
        """Weights of the last layer with its bias as the last row, (h + 1, c) float64."""
        return self.network.last

    def mc_logits(self, inputs: np.ndarray, *, passes: int, seed: int) -> np.ndarray:
        """Compute logits (passes, n, c) float64 with dropout as in training and batch norm as in inference."""
        return mc_logits(self.features(inputs), self.head, self.network.dropout, passes, seed)

    def view_logits(self, inputs: np.ndarray, *, views: int, seed: int, recipe: str = "views") -> np.ndarray:
        """Compute logits (views, n, c) float64 of random views of every image."""

        def one(view: int) -> np.ndarray:
            return self._pass(
                inputs, lambda images, ids: self.network(augment(images, Draws(seed, 0, ids, view), recipe))
            )

        return np.stack([one(view) for view in range(views)]).astype(np.float64)

    @torch.inference_mode()
    def _pass(self, inputs: np.ndarray, forward: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> np.ndarray:
        self.network.eval()
        outputs = []
        for start in range(0, len(inputs), INFERENCE_BATCH):
            images = as_tensor(inputs[start : start + INFERENCE_BATCH], self.device)
            ids = torch.arange(start, start + len(images), device=self.device)
            outputs.append(forward(images, ids).cpu().numpy())
        return np.concatenate(outputs)


def drop(features: torch.Tensor, share: float, rng: np.random.Generator) -> torch.Tensor:
    """Apply dropout to features (b, h) with an explicit random generator.

    Torch's own dropout draws from a global generator, whose state depends on what ran before.
    """
    if share == 0:
        return features
    mask = as_tensor(rng.random(features.shape, dtype=np.float32) >= share, features.device)
    return features * mask / (1 - share)


def mc_logits(features: np.ndarray, head: np.ndarray, share: float, passes: int, seed: int) -> np.ndarray:
    """Compute Monte-Carlo dropout logits: a random `share` of features is dropped in each pass.

    Dropout is only before the last layer, so the encoder is not evaluated again.

    Parameters
    ----------
    features : (n, h) float32
    head : (h + 1, c) float64
    share : float
        In [0, 1).

    Returns
    -------
    (passes, n, c) float64
    """
    logits = np.empty((passes, len(features), head.shape[1]))
    weight = head[:-1].astype(np.float32)
    for number in range(passes):
        rng = generator(seed, "pass", number)
        for start in range(0, len(features), INFERENCE_BATCH):
            block = features[start : start + INFERENCE_BATCH]
            mask = rng.random(block.shape, dtype=np.float32) >= share
            logits[number, start : start + len(block)] = (block * mask) @ weight
    return logits / (1 - share) + head[-1]
