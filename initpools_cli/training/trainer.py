"""A network in training on labeled inputs, epoch by epoch."""

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


#: Names that are looked up where they are given, not in the middle of a sweep.
Recipe = Annotated[str, AfterValidator(_recipe)]
NetworkName = Annotated[str, AfterValidator(lambda name: networks.get(name).name)]
Optimizer = Literal["adamw", "adam", "sgd"]
Schedule = Literal["cosine", "constant"]

#: What the encoder is shown of the inputs at these places, in this epoch.
Show = Callable[[np.ndarray, int], torch.Tensor]
#: Told the places in a batch's inputs, their features (b, h) and their logits (b, c), all of one training step.
Watch = Callable[[np.ndarray, torch.Tensor, torch.Tensor], None]

#: Of "sgd", whose momentum is Nesterov's.
MOMENTUM = 0.9


@dataclass(frozen=True)
class TrainConfig:
    """How long and by what steps a network is trained.

    Attributes
    ----------
    epochs, steps : int
        As many epochs as asked for, or as it takes to reach so many steps.
    batch : int
        Inputs in a step at most; epochs are cut into steps of as equal a size as can be.
    optimizer : str
        "adamw" (decoupled weight decay), "adam" (the decay in the gradient) or "sgd" with Nesterov's momentum of 0.9.
    lr, weight_decay : float
    schedule : str
        Of the rate: "cosine", down to 0 over all steps, or "constant".
    encoder_rate : float
        Factor on the rate of everything before the last layer.
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
    """A network in training.

    Parameters
    ----------
    network : Network
        Trained in place.
    show : Show
        For example `augmented(images, …)`.
    labels : ndarray
        (m,) int64.
    routine : TrainConfig
    seed : int
        Decides order and dropout.

    Attributes
    ----------
    epochs, done : int
        Epochs in all, and done.
    """

    def __init__(
        self, network: Network, show: Show, labels: np.ndarray, routine: TrainConfig, seed: int, device: torch.device
    ) -> None:
        self.network, self.show = network.to(device), show
        self.targets, self.seed = as_tensor(labels, device), seed
        self.batches = -(-len(labels) // min(routine.batch, len(labels)))
        self.epochs, self.done = max(routine.epochs, -(-routine.steps // self.batches)), 0
        self.optimizer = _optimizer(network, routine)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, _cosine(self.epochs * self.batches) if routine.schedule == "cosine" else _constant
        )

    def epoch(self, watch: Watch = lambda chosen, features, logits: None) -> None:
        """One more pass over the inputs; `watch` is told what the network made of every batch, before its step."""
        self.network.train()
        order = generator(self.seed, "order", self.done).permutation(len(self.targets))
        dropped = generator(self.seed, "dropout", self.done)
        for chosen in np.array_split(order, self.batches):
            if len(chosen) < 2:
                # Batch norm has no variance to work with.
                chosen = np.concatenate([chosen, chosen])
            features = drop(self.network.encoder(self.show(chosen, self.done)), self.network.dropout, dropped)
            logits = self.network.head(features)
            watch(chosen, features.detach(), logits.detach())
            self.optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(logits, self.targets[chosen]).backward()
            self.optimizer.step()
            self.schedule.step()
        self.done += 1

    def run(self, held_out: Callable[[], float] | None = None) -> None:
        """Train to the end; keep the last weights, or where a loss is given those of the epoch where it is lowest."""
        best, lowest = self.network.state_dict(), np.inf
        while self.done < self.epochs:
            self.epoch()
            if held_out is not None and (loss := held_out()) < lowest:
                # A copy, not a view: the next epoch would train it on.
                best, lowest = copy.deepcopy(self.network.state_dict()), loss
        self.network.load_state_dict(best)

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "done": self.done,
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.done = state["done"]


def augmented(images: np.ndarray, recipe: str, seed: int, device: torch.device) -> Show:
    """Show images (m, h, w, channels) uint8 by a recipe of `augment`, each as its place and the epoch decide."""
    root = derive(seed, "augment")

    def show(chosen: np.ndarray, epoch: int) -> torch.Tensor:
        return augment(as_tensor(images[chosen], device), Draws(root, epoch, as_tensor(chosen, device)), recipe)

    return show


def _optimizer(network: Network, routine: TrainConfig) -> torch.optim.Optimizer:
    groups = [
        {"params": network.encoder.parameters(), "lr": routine.lr * routine.encoder_rate},
        {"params": network.head.parameters(), "lr": routine.lr},
    ]
    if routine.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=MOMENTUM, nesterov=True, weight_decay=routine.weight_decay)
    kind = torch.optim.AdamW if routine.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, weight_decay=routine.weight_decay)


def _cosine(steps: int) -> Callable[[int], float]:
    return lambda step: 0.5 * (1 + math.cos(math.pi * step / steps))


def _constant(step: int) -> float:
    return 1.0
