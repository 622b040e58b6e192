"""Supervised training of a network, epoch by epoch."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import AfterValidator
from torch.nn import functional as F

from initpools_cli.augment.draws import Draws
from initpools_cli.augment.pipelines import augment, recipe_named
from initpools_cli.core.seeds import derive, generator
from initpools_cli.networks.registry import networks
from initpools_cli.training.device import as_tensor
from initpools_cli.training.network import Network, drop


def _recipe(name: str) -> str:
    recipe_named(name)
    return name


#: Names that are validated with the configuration, not in the middle of a sweep.
Recipe = Annotated[str, AfterValidator(_recipe)]
NetworkName = Annotated[str, AfterValidator(lambda name: networks.get(name).name)]
Optimizer = Literal["adamw", "adam", "sgd"]
Schedule = Literal["cosine", "constant"]

#: Maps rows and an epoch to the inputs of the encoder.
Loader = Callable[[np.ndarray, int], torch.Tensor]
#: Called in each training step with the rows of the batch, their features (b, h) and their logits (b, c).
Watch = Callable[[np.ndarray, torch.Tensor, torch.Tensor], None]

#: Nesterov momentum of "sgd".
MOMENTUM = 0.9


@dataclass(frozen=True)
class TrainConfig:
    """Length, optimizer and learning rate of a training.

    Attributes
    ----------
    epochs, steps : int
        The number of epochs is the larger of `epochs` and what `steps` steps need.
    batch : int
        Maximum of inputs per step; epochs are split into steps of about equal size.
    optimizer : str
        "adamw" (decoupled weight decay), "adam" (weight decay in the gradient) or "sgd" with Nesterov momentum 0.9.
    lr, weight_decay : float
    schedule : str
        Learning-rate schedule: "cosine", to 0 over all steps, or "constant".
    encoder_rate : float
        Factor on the learning rate of the encoder.
    """

    epochs: int
    steps: int
    batch: int
    optimizer: Optimizer
    lr: float
    weight_decay: float
    schedule: Schedule
    encoder_rate: float = 1.0


class Trainer:
    """Training of a network on labeled inputs.

    Parameters
    ----------
    network : Network
        Trained in place.
    load : Loader
        For example `augmented(images, …)`.
    labels : ndarray
        (m,) int64; or (m, c) int8, trained by the mean logistic loss over images and classes.
    config : TrainConfig
    seed : int
        Determines order and dropout.
    device : torch.device

    Attributes
    ----------
    epochs, done : int
        Number of epochs in total, and finished.
    """

    def __init__(
        self, network: Network, load: Loader, labels: np.ndarray, config: TrainConfig, seed: int, device: torch.device
    ) -> None:
        self.network, self.load = network.to(device), load
        multilabel = labels.ndim == 2
        self.targets, self.seed = as_tensor(labels.astype(np.float32) if multilabel else labels, device), seed
        self.loss = F.binary_cross_entropy_with_logits if multilabel else F.cross_entropy
        self.batches = -(-len(labels) // min(config.batch, len(labels)))
        self.epochs, self.done = max(config.epochs, -(-config.steps // self.batches)), 0
        self.optimizer = _optimizer(network, config)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, _cosine(self.epochs * self.batches) if config.schedule == "cosine" else _constant
        )

    def epoch(self, watch: Watch = lambda batch, features, logits: None) -> None:
        """Train one epoch; `watch` is called for every batch before its optimizer step."""
        self.network.train()
        order = generator(self.seed, "order", self.done).permutation(len(self.targets))
        dropout_rng = generator(self.seed, "dropout", self.done)
        for batch in np.array_split(order, self.batches):
            if len(batch) < 2:
                # Batch norm needs at least two inputs.
                batch = np.concatenate([batch, batch])
            loss = self.batch_loss(batch, dropout_rng, watch)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            self.schedule.step()
        self.done += 1

    def batch_loss(self, batch: np.ndarray, dropout_rng: np.random.Generator, watch: Watch) -> torch.Tensor:
        """Compute the loss of one step.

        Parameters
        ----------
        batch : (b,) int64
            Rows of the labeled inputs.
        dropout_rng : Generator
            Draws the dropout.
        watch : Watch
        """
        features = drop(self.network.encoder(self.load(batch, self.done)), self.network.dropout, dropout_rng)
        logits = self.network.head(features)
        watch(batch, features.detach(), logits.detach())
        return self.loss(logits, self.targets[batch])

    def run(self, held_out: Callable[[], float] | None = None) -> None:
        """Train all epochs; keep the last weights, or with `held_out` those of the epoch with its lowest loss."""
        best, lowest = self.network.state_dict(), np.inf
        while self.done < self.epochs:
            self.epoch()
            if held_out is not None and (loss := held_out()) < lowest:
                # A copy, because the next epoch changes the weights in place.
                best, lowest = copy.deepcopy(self.network.state_dict()), loss
        self.network.load_state_dict(best)

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "done": self.done,
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.done = state["done"]


def augmented(images: np.ndarray, recipe: str, seed: int, device: torch.device) -> Loader:
    """Make a loader of images (m, h, w, channels) uint8, augmented by a recipe; draws depend on row and epoch only."""
    root = derive(seed, "augment")

    def load(rows: np.ndarray, epoch: int) -> torch.Tensor:
        return augment(as_tensor(images[rows], device), Draws(root, epoch, as_tensor(rows, device)), recipe)

    return load


def _optimizer(network: Network, config: TrainConfig) -> torch.optim.Optimizer:
    groups = [
        {"params": network.encoder.parameters(), "lr": config.lr * config.encoder_rate},
        {"params": network.head.parameters(), "lr": config.lr},
    ]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=MOMENTUM, nesterov=True, weight_decay=config.weight_decay)
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, weight_decay=config.weight_decay)


def _cosine(steps: int) -> Callable[[int], float]:
    return lambda step: 0.5 * (1 + math.cos(math.pi * step / steps))


def _constant(step: int) -> float:
    return 1.0
