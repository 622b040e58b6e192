"""Learner `scratch`: network trained from random initialization."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from pydantic import Field

from initpools_cli.core.bounds import Count, Factor, Passes, PositiveCount, PositiveFactor
from initpools_cli.core.seeds import derive
from initpools_cli.networks.build import build_encoder
from initpools_cli.training.learners.registry import Validation, learners, log_loss
from initpools_cli.training.network import Network, TrainedNetwork
from initpools_cli.training.trainer import NetworkName, Optimizer, Recipe, Schedule, TrainConfig, Trainer, augmented


@learners.register(
    gives=("probs", "features", "head", "mc_probs", "view_probs", "member_probs"),
    presets={
        "quick": {},
        "reference": {
            "network": "resnet18",
            "epochs": 200,
            "steps": 0,
            "batch": 96,
            "optimizer": "sgd",
            "lr": 0.025,
            "weight_decay": 3e-4,
            "recipe": "randaug",
        },
        "reference-adam": {
            "network": "resnet18",
            "epochs": 100,
            "steps": 0,
            "batch": 64,
            "optimizer": "adam",
            "lr": 5e-3,
            "schedule": "constant",
            "weight_decay": 3e-4,
            "recipe": "weak",
        },
    },
)
def scratch(
    images: np.ndarray,
    labels: np.ndarray,
    classes: int,
    seed: int,
    device: torch.device,
    validation: Validation | None = None,
    *,
    network: NetworkName = "convnet",
    width: Annotated[float, Field(gt=0, le=16)] = 1.0,
    epochs: Passes = 20,
    steps: Count = 300,
    batch: PositiveCount = 32,
    optimizer: Optimizer = "adamw",
    lr: PositiveFactor = 3e-3,
    schedule: Schedule = "cosine",
    weight_decay: Factor = 1e-4,
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2,
    recipe: Recipe = "weak",
) -> TrainedNetwork:
    """Convolutional network trained on the labeled images from random weights in every round.

    Trained for `epochs`, or as many as `steps` steps need, so that ten labels are enough. Keeps the last weights or,
    with validation, those of the epoch with the lowest validation log-loss.

    Parameters
    ----------
    images : ndarray
        (m, h, w, channels) uint8.
    labels : ndarray
        (m,) int64, or (m, c) int8.
    classes : int
        c.
    seed : int
        Determines initialization, order, augmentation and dropout.
    device : torch.device
        Device of the network.
    validation : (images, labels), optional
        Validation set, evaluated after every epoch.
    optimizer, schedule : str
        See `TrainConfig`.
    dropout : float
        Share of features dropped before the last layer in training and in `mc_logits` (Gal & Ghahramani 2016,
        arXiv:1506.02142), not in `logits`.
    """
    root = derive(seed, "scratch")
    encoder = build_encoder(network, channels=images.shape[3], size=min(images.shape[1:3]), width=width, seed=root)
    model = TrainedNetwork(Network(encoder, classes, root, dropout), device)
    config = TrainConfig(epochs, steps, batch, optimizer, lr, weight_decay, schedule)
    trainer = Trainer(model.network, augmented(images, recipe, seed, device), labels, config, seed, device)
    trainer.run(None if validation is None else lambda: log_loss(model.logits(validation[0]), validation[1]))
    return model
