"""A network trained from a fresh initialisation every time it is asked."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from initpools_cli.augment.draws import Draws
from initpools_cli.augment.pipelines import augment, to_float
from initpools_cli.core.seeds import derive, generator
from initpools_cli.networks.build import build_encoder, seeded
from initpools_cli.training.learners.registry import Validation, learners, log_loss
from initpools_cli.training.machine import as_tensor

INFERENCE_BATCH = 512


class Network(nn.Module):
    """An encoder and a linear head."""

    def __init__(self, name: str, width: float, channels: int, size: int, classes: int, seed: int) -> None:
        super().__init__()
        self.encoder = build_encoder(name, channels=channels, size=size, width=width, seed=seed)
        with seeded(seed, "head"):
            self.head = nn.Linear(self.encoder.features, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (b, c) of float images (b, channels, h, w)."""
        return self.head(self.encoder(images))


@dataclass(frozen=True)
class Scratch:
    """A fitted network."""

    network: Network
    device: torch.device

    @torch.inference_mode()
    def logits(self, inputs: np.ndarray) -> np.ndarray:
        """(n, c) float64 of unaugmented uint8 images (n, h, w, channels)."""
        self.network.eval()
        return self._blocks(inputs, lambda images, ids: to_float(images))

    @torch.inference_mode()
    def view_logits(self, inputs: np.ndarray, *, views: int, seed: int, recipe: str = "views") -> np.ndarray:
        """(views, n, c) float64: logits of random views of every image."""
        self.network.eval()
        return np.stack(
            [
                self._blocks(inputs, lambda images, ids, view=view: augment(images, Draws(seed, 0, ids, view), recipe))
                for view in range(views)
            ]
        )

    def _blocks(self, inputs: np.ndarray, show) -> np.ndarray:  # type: ignore[no-untyped-def]
        found = []
        for start in range(0, len(inputs), INFERENCE_BATCH):
            images = as_tensor(inputs[start : start + INFERENCE_BATCH], self.device)
            ids = torch.arange(start, start + len(images), device=self.device)
            found.append(self.network(show(images, ids)).cpu().double().numpy())
        return np.concatenate(found)


@learners.register(paper="")
def scratch(
    images: np.ndarray,
    labels: np.ndarray,
    classes: int,
    seed: int,
    device: torch.device,
    validation: Validation | None = None,
    *,
    network: str = "convnet",
    width: Annotated[float, Field(gt=0, le=16)] = 1.0,
    epochs: Annotated[int, Field(ge=1)] = 20,
    steps: Annotated[int, Field(ge=0)] = 300,
    batch: Annotated[int, Field(ge=1)] = 32,
    lr: Annotated[float, Field(gt=0)] = 3e-3,
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4,
    recipe: str = "weak",
) -> Scratch:
    """A convolutional network trained on the labelled images alone, re-initialised each time.

    Adam with cosine decay for `epochs`, or for as many as it takes to reach `steps`, so that ten labels train too. The
    last weights are kept, or, where a validation policy pays for it, those of the epoch with the lowest validation
    log-loss (a copy of them, not a view).

    Parameters
    ----------
    images : ndarray
        (m, h, w, channels) uint8.
    labels : ndarray
        (m,) int64.
    classes : int
        c.
    seed : int
        Decides initialisation, order and augmentation.
    device : torch.device
        Where the network lives.
    validation : (images, labels), optional
        Held out; read after every epoch.
    """
    model = Network(network, width, images.shape[3], min(images.shape[1:3]), classes, derive(seed, "scratch"))
    model.to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay)
    size = min(batch, len(images))
    batches = -(-len(images) // size)
    epochs = max(epochs, -(-steps // batches))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * batches)
    targets = as_tensor(labels, device)
    best, best_loss = model.state_dict(), np.inf
    for epoch in range(epochs):
        model.train()
        order = generator(seed, "order", epoch).permutation(len(images))
        for chosen in np.array_split(order, batches):
            if len(chosen) < 2:
                # Batch norm has no variance to work with.
                chosen = np.concatenate([chosen, chosen])
            shown = as_tensor(images[chosen], device)
            draws = Draws(derive(seed, "augment"), epoch, as_tensor(chosen, device))
            loss = F.cross_entropy(model(augment(shown, draws, recipe)), targets[chosen])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
        if validation is not None:
            held_out = log_loss(Scratch(model, device).logits(validation[0]), validation[1])
            if held_out < best_loss:
                best, best_loss = copy.deepcopy(model.state_dict()), held_out
    if validation is not None:
        model.load_state_dict(best)
    return Scratch(model, device)
