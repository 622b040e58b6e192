"""A network with a last layer: how it is passed through in training, once it is trained, and with dropout on."""

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
    """An encoder and a linear head, with dropout between them.

    Parameters
    ----------
    encoder : Encoder
    classes : int
    seed : int
        Decides the first weights of the head.
    dropout : float
        Share of the features that is dropped in training; `forward` drops none.
    """

    def __init__(self, encoder: Encoder, classes: int, seed: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = dropout
        with seeded(seed, "head"):
            self.head = nn.Linear(encoder.features, classes)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Logits (b, c) of what the encoder takes."""
        logits: torch.Tensor = self.head(self.encoder(inputs))
        return logits

    @property
    def last(self) -> np.ndarray:
        """(h + 1, c) float64: the head's weights, and its bias as the last row."""
        both = torch.cat([self.head.weight.detach().T, self.head.bias.detach()[None]])
        return both.cpu().double().numpy()


@dataclass(frozen=True)
class TrainedNetwork:
    """A network that has been trained on images."""

    network: Network
    device: torch.device

    def logits(self, inputs: np.ndarray) -> np.ndarray:
        """(n, c) float64 of unaugmented uint8 images (n, h, w, channels)."""
        return self._pass(inputs, lambda images, ids: self.network(to_float(images))).astype(np.float64)

    def features(self, inputs: np.ndarray) -> np.ndarray:
        """(n, h) float32: what the last layer reads of unaugmented images, without dropout."""
        return self._pass(inputs, lambda images, ids: self.network.encoder(to_float(images)))

    @property
    def head(self) -> np.ndarray:
        """(h + 1, c) float64: the last layer's weights, and its bias as the last row."""
        return self.network.last

    def mc_logits(self, inputs: np.ndarray, *, passes: int, seed: int) -> np.ndarray:
        """(passes, n, c) float64: logits with dropout as in training, and batch norm as in inference."""
        return mc_logits(self.features(inputs), self.head, self.network.dropout, passes, seed)

    def view_logits(self, inputs: np.ndarray, *, views: int, seed: int, recipe: str = "views") -> np.ndarray:
        """(views, n, c) float64: logits of random views of every image."""

        def one(view: int) -> np.ndarray:
            return self._pass(
                inputs, lambda images, ids: self.network(augment(images, Draws(seed, 0, ids, view), recipe))
            )

        return np.stack([one(view) for view in range(views)]).astype(np.float64)

    @torch.inference_mode()
    def _pass(self, inputs: np.ndarray, ask: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> np.ndarray:
        self.network.eval()
        found = []
        for start in range(0, len(inputs), INFERENCE_BATCH):
            images = as_tensor(inputs[start : start + INFERENCE_BATCH], self.device)
            ids = torch.arange(start, start + len(images), device=self.device)
            found.append(ask(images, ids).cpu().numpy())
        return np.concatenate(found)


def drop(features: torch.Tensor, share: float, rng: np.random.Generator) -> torch.Tensor:
    """Features (b, h) with a random `share` of them zero, and the others scaled up to the same mean.

    Torch's own dropout draws from a generator of the process and the device, which depends on what ran before.
    """
    if share == 0:
        return features
    kept = as_tensor(rng.random(features.shape, dtype=np.float32) >= share, features.device)
    return features * kept / (1 - share)


def mc_logits(features: np.ndarray, head: np.ndarray, share: float, passes: int, seed: int) -> np.ndarray:
    """Logits of features whose `share` is dropped anew in each pass.

    Dropout stands before the last layer alone, so that the rest of a network need not be passed through again.

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
    found = np.empty((passes, len(features), head.shape[1]))
    weight = head[:-1].astype(np.float32)
    for number in range(passes):
        rng = generator(seed, "pass", number)
        for start in range(0, len(features), INFERENCE_BATCH):
            block = features[start : start + INFERENCE_BATCH]
            kept = rng.random(block.shape, dtype=np.float32) >= share
            found[number, start : start + len(block)] = (block * kept) @ weight
    return found / (1 - share) + head[-1]
