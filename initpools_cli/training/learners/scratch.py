"""A network trained from a fresh initialisation every time it is asked."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

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

#: Told the places in a batch's images, their features (b, d) and their logits (b, c), all of one training step.
Watch = Callable[[np.ndarray, torch.Tensor, torch.Tensor], None]


def drop(features: torch.Tensor, share: float, rng: np.random.Generator) -> torch.Tensor:
    """Features (b, h) with a random `share` of them zero and the others scaled up to the same mean.

    Torch's own dropout draws from a generator of the process and the device, which depends on what ran before.
    """
    if share == 0:
        return features
    kept = rng.random(features.shape, dtype=np.float32) >= share
    return features * as_tensor(kept, features.device) / (1 - share)


class Network(nn.Module):
    """An encoder and a linear head, with dropout between them.

    Parameters
    ----------
    dropout : float
        Share of the features that `drop` sets to zero; `forward` drops none.
    """

    def __init__(
        self, name: str, width: float, channels: int, size: int, classes: int, seed: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.encoder = build_encoder(name, channels=channels, size=size, width=width, seed=seed)
        with seeded(seed, "head"):
            self.head = nn.Linear(self.encoder.features, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (b, c) of float images (b, channels, h, w)."""
        return self.head(self.encoder(images))

    def drop(self, features: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """Features (b, h) with a random share of them zero and the others scaled up to the same mean."""
        return drop(features, self.dropout, rng)


class Course:
    """A network in training on labelled images, epoch by epoch: Adam with cosine decay.

    Parameters
    ----------
    network : Network
        Trained in place.
    images : ndarray
        (m, h, w, channels) uint8.
    labels : ndarray
        (m,) int64.
    epochs, steps : int
        As many epochs as asked for, or as it takes to reach so many steps.
    batch : int
        Images in a step; epochs are cut into steps of as equal a size as can be.
    recipe : str
        The augmentation.
    seed : int
        Decides order, augmentation and dropout.

    Attributes
    ----------
    epochs, done : int
        Epochs in all, and done.
    """

    def __init__(
        self,
        network: Network,
        images: np.ndarray,
        labels: np.ndarray,
        *,
        epochs: int,
        steps: int,
        batch: int,
        lr: float,
        weight_decay: float,
        recipe: str,
        seed: int,
        device: torch.device,
    ) -> None:
        self.network = network.to(device)
        self.images, self.targets = images, as_tensor(labels, device)
        self.recipe, self.seed, self.device = recipe, seed, device
        self.batches = -(-len(images) // min(batch, len(images)))
        self.epochs, self.done = max(epochs, -(-steps // self.batches)), 0
        self.optimizer = torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=weight_decay)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, self.epochs * self.batches)

    def epoch(self, watch: Watch = lambda chosen, features, logits: None) -> None:
        """One more pass over the images; `watch` is told what the network made of every batch, before its step."""
        self.network.train()
        order = generator(self.seed, "order", self.done).permutation(len(self.images))
        dropped = generator(self.seed, "dropout", self.done)
        for chosen in np.array_split(order, self.batches):
            if len(chosen) < 2:
                # Batch norm has no variance to work with.
                chosen = np.concatenate([chosen, chosen])
            shown = as_tensor(self.images[chosen], self.device)
            draws = Draws(derive(self.seed, "augment"), self.done, as_tensor(chosen, self.device))
            features = self.network.drop(self.network.encoder(augment(shown, draws, self.recipe)), dropped)
            logits = self.network.head(features)
            watch(chosen, features.detach(), logits.detach())
            self.optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(logits, self.targets[chosen]).backward()
            self.optimizer.step()
            self.schedule.step()
        self.done += 1

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


@dataclass(frozen=True)
class Scratch:
    """A fitted network."""

    network: Network
    device: torch.device

    @torch.inference_mode()
    def logits(self, inputs: np.ndarray) -> np.ndarray:
        """(n, c) float64 of unaugmented uint8 images (n, h, w, channels)."""
        self.network.eval()
        return self._blocks(inputs, lambda images, ids: self.network(to_float(images))).astype(np.float64)

    @torch.inference_mode()
    def features(self, inputs: np.ndarray) -> np.ndarray:
        """(n, h) float32: what the last layer reads, without dropout."""
        self.network.eval()
        return self._blocks(inputs, lambda images, ids: self.network.encoder(to_float(images)))

    @property
    def head(self) -> np.ndarray:
        """(h + 1, c) float64: the last layer's weights, and its bias as the last row."""
        layer = self.network.head
        return torch.cat([layer.weight.detach().T, layer.bias.detach()[None]]).cpu().double().numpy()

    def mc_logits(self, inputs: np.ndarray, *, passes: int, seed: int) -> np.ndarray:
        """(passes, n, c) float64: logits with dropout as in training, and batch norm as in inference."""
        return mc_logits(self.features(inputs), self.head, self.network.dropout, passes, seed)

    @torch.inference_mode()
    def view_logits(self, inputs: np.ndarray, *, views: int, seed: int, recipe: str = "views") -> np.ndarray:
        """(views, n, c) float64: logits of random views of every image."""
        self.network.eval()
        return np.stack(
            [
                self._blocks(
                    inputs,
                    lambda images, ids: self.network(augment(images, Draws(seed, 0, ids, view), recipe)),  # noqa: B023 -- called before the next view
                )
                for view in range(views)
            ]
        ).astype(np.float64)

    def _blocks(self, inputs: np.ndarray, ask: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> np.ndarray:
        found = []
        for start in range(0, len(inputs), INFERENCE_BATCH):
            images = as_tensor(inputs[start : start + INFERENCE_BATCH], self.device)
            ids = torch.arange(start, start + len(images), device=self.device)
            found.append(ask(images, ids).cpu().numpy())
        return np.concatenate(found)


def mc_logits(features: np.ndarray, head: np.ndarray, share: float, passes: int, seed: int) -> np.ndarray:
    """(passes, n, c) float64 of features (n, h) whose `share` is dropped anew in each pass, under a head (h + 1, c).

    Dropout stands before the last layer alone, so the network itself need not be passed through again.
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


@learners.register(
    gives=("probs", "features", "head", "mc_probs", "view_probs", "member_probs"),
    presets={"quick": {}},
)
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
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2,
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
        Decides initialisation, order, augmentation and dropout.
    device : torch.device
        Where the network lives.
    validation : (images, labels), optional
        Held out; read after every epoch.
    dropout : float
        Share of the features dropped before the last layer, in training and in Monte-Carlo passes (Gal & Ghahramani
        2016, arXiv:1506.02142), never in `logits`.
    """
    course = Course(
        Network(network, width, images.shape[3], min(images.shape[1:3]), classes, derive(seed, "scratch"), dropout),
        images,
        labels,
        epochs=epochs,
        steps=steps,
        batch=batch,
        lr=lr,
        weight_decay=weight_decay,
        recipe=recipe,
        seed=seed,
        device=device,
    )
    model = course.network
    best, best_loss = model.state_dict(), np.inf
    while course.done < course.epochs:
        course.epoch()
        if validation is not None:
            held_out = log_loss(Scratch(model, device).logits(validation[0]), validation[1])
            if held_out < best_loss:
                best, best_loss = copy.deepcopy(model.state_dict()), held_out
    if validation is not None:
        model.load_state_dict(best)
    return Scratch(model, device)
