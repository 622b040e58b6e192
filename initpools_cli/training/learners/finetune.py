"""A pretrained encoder and a new last layer, trained together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import Field

from initpools_cli.core.bounds import Count, Factor, Passes, PositiveCount, PositiveFactor
from initpools_cli.core.checksums import changed, checksum
from initpools_cli.core.seeds import derive
from initpools_cli.networks.build import Encoder, build_encoder
from initpools_cli.networks.weights import fit, read_safetensors
from initpools_cli.training.learners.registry import Validation, learners, log_loss
from initpools_cli.training.network import Network, TrainedNetwork
from initpools_cli.training.trainer import Optimizer, Recipe, Schedule, TrainConfig, Trainer, augmented

PREFIX = "encoder."


@dataclass(frozen=True)
class Pretrained:
    """Where a pretrained encoder is, and what it is: enough to build it in any process that sees the file.

    Attributes
    ----------
    weights : str
        Path of the safetensors file that the pretrain wrote.
    network : str
    width : float
    channels, size : int
        Of the images that it was trained on.
    sha256 : str
        Of the file; it is read in other processes and at other times than it was found.
    """

    weights: str
    network: str
    width: float
    channels: int
    size: int
    sha256: str

    def encoder(self) -> Encoder:
        """The encoder with its trained weights, a new one each time.

        Raises
        ------
        UserError
            The file is missing, changed meanwhile, or holds another network.
        """
        path = Path(self.weights)
        encoder = build_encoder(self.network, channels=self.channels, size=self.size, width=self.width, seed=0)
        stored = read_safetensors(path).items()
        if checksum(path) != self.sha256:
            raise changed(path)
        fit(encoder, {name.removeprefix(PREFIX): value for name, value in stored if name.startswith(PREFIX)}, path)
        return encoder


@learners.register(
    gives=("probs", "features", "head", "mc_probs", "view_probs", "member_probs"),
    presets={
        "quick": {},
        "reference": {
            "epochs": 200,
            "steps": 0,
            "batch": 128,
            "optimizer": "adam",
            "lr": 3e-4,
            "schedule": "constant",
            "weight_decay": 3e-4,
            "encoder_rate": 1.0,
        },
    },
)
def finetune(
    images: np.ndarray,
    labels: np.ndarray,
    classes: int,
    seed: int,
    device: torch.device,
    encoder: Pretrained,
    validation: Validation | None = None,
    *,
    epochs: Passes = 20,
    steps: Count = 100,
    batch: PositiveCount = 32,
    optimizer: Optimizer = "adamw",
    lr: PositiveFactor = 3e-3,
    schedule: Schedule = "cosine",
    weight_decay: Factor = 1e-4,
    encoder_rate: Annotated[float, Field(ge=0, le=1)] = 0.3,
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2,
    recipe: Recipe = "weak",
) -> TrainedNetwork:
    """A pretrained encoder trained on, with a new last layer, from the same weights each time.

    For `epochs`, or for as many as it takes to reach `steps`. The last weights are kept, or, where a validation policy
    pays for it, those of the epoch with the lowest validation log-loss.

    Parameters
    ----------
    images : ndarray
        (m, h, w, channels) uint8.
    labels : ndarray
        (m,) int64.
    classes : int
        c.
    seed : int
        Decides the last layer's first weights, order, augmentation and dropout.
    device : torch.device
        Where the network lives.
    encoder : Pretrained
        What is begun from.
    validation : (images, labels), optional
        Held out; read after every epoch.
    optimizer, schedule : str
        See `TrainConfig`.
    encoder_rate : float
        Factor on the encoder's learning rate.
    dropout : float
        Share of the features dropped before the last layer, in training and in Monte-Carlo passes, never in `logits`.
    """
    model = TrainedNetwork(Network(encoder.encoder(), classes, derive(seed, "finetune"), dropout), device)
    routine = TrainConfig(epochs, steps, batch, optimizer, lr, weight_decay, schedule, encoder_rate)
    course = Trainer(model.network, augmented(images, recipe, seed, device), labels, routine, seed, device)
    course.run(None if validation is None else lambda: log_loss(model.logits(validation[0]), validation[1]))
    return model
