"""Learner `finetune`: pretrained encoder trained with a new last layer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import Field

from initpools_cli.core.bounds import Count, Factor, Passes, PositiveCount, PositiveFactor
from initpools_cli.core.checksums import changed_error, checksum
from initpools_cli.core.seeds import derive
from initpools_cli.networks.build import Encoder, build_encoder
from initpools_cli.networks.weights import fit, read_safetensors
from initpools_cli.training.learners.registry import Validation, learners, log_loss
from initpools_cli.training.network import Network, TrainedNetwork
from initpools_cli.training.trainer import Optimizer, Recipe, Schedule, TrainConfig, Trainer, augmented

PREFIX = "encoder."


@dataclass(frozen=True)
class PretrainedEncoder:
    """File and architecture of a pretrained encoder, enough to build it in a worker process.

    Attributes
    ----------
    weights : str
        Path of the safetensors file written by `pretrain`.
    network : str
    width : float
    channels, size : int
        Of the images that it was trained on.
    sha256 : str
        Checksum of the file, verified when it is read.
    """

    weights: str
    network: str
    width: float
    channels: int
    size: int
    sha256: str

    def encoder(self) -> Encoder:
        """Build a new encoder with the pretrained weights.

        Raises
        ------
        UserError
            If the file is missing, has changed, or contains another network.
        """
        path = Path(self.weights)
        encoder = build_encoder(self.network, channels=self.channels, size=self.size, width=self.width, seed=0)
        tensors = read_safetensors(path).items()
        if checksum(path) != self.sha256:
            raise changed_error(path)
        fit(encoder, {name.removeprefix(PREFIX): value for name, value in tensors if name.startswith(PREFIX)}, path)
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
    encoder: PretrainedEncoder,
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
    """Pretrained encoder with a new last layer, fine-tuned on the labeled images from the same weights in every round.

    Trained for `epochs`, or as many as `steps` steps need. Keeps the last weights or, with validation, those of the
    epoch with the lowest validation log-loss.

    Parameters
    ----------
    images : ndarray
        (m, h, w, channels) uint8.
    labels : ndarray
        (m,) int64, or (m, c) int8.
    classes : int
        c.
    seed : int
        Determines the initial weights of the last layer, order, augmentation and dropout.
    device : torch.device
        Device of the network.
    encoder : PretrainedEncoder
        The encoder to start from.
    validation : (images, labels), optional
        Validation set, evaluated after every epoch.
    optimizer, schedule : str
        See `TrainConfig`.
    encoder_rate : float
        Factor on the encoder's learning rate.
    dropout : float
        Share of features dropped before the last layer in training and in `mc_logits`, not in `logits`.
    """
    model = TrainedNetwork(Network(encoder.encoder(), classes, derive(seed, "finetune"), dropout), device)
    config = TrainConfig(epochs, steps, batch, optimizer, lr, weight_decay, schedule, encoder_rate)
    trainer = Trainer(model.network, augmented(images, recipe, seed, device), labels, config, seed, device)
    trainer.run(None if validation is None else lambda: log_loss(model.logits(validation[0]), validation[1]))
    return model
