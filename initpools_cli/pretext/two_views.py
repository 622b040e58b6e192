"""Views, heads and optimizers shared by the tasks on several views of an image."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from initpools_cli.augment.draws import Draws
from initpools_cli.augment.pipelines import augment, to_float
from initpools_cli.core.errors import UserError
from initpools_cli.networks.build import seeded
from initpools_cli.pretext.base import Pretext


def both_views(images: Tensor, draws: Draws, recipe: str) -> Tensor:
    """Return two random views of each image, stacked by view: (2b, c, h, w)."""
    return torch.cat([augment(images, replace(draws, view=2 * draws.view + k), recipe) for k in (0, 1)])


class PairTask(Pretext):
    """Base class of tasks on two random views of each image, with a projector after the encoder."""

    recipe_default = "simclr"
    projector: nn.Module

    def inputs(self, images: Tensor, draws: Draws) -> tuple[Tensor, ...]:
        """Return both views, stacked: ((2b, c, h, w),)."""
        return (both_views(images, draws, self.recipe),)

    def projections(self, images: Tensor) -> Tensor:
        """Return the projector's outputs for unaugmented images (b, h, w, c) uint8."""
        return self.projector(self.encoder(to_float(images)))


def mlp(*widths: int, seed: int, label: str) -> nn.Sequential:
    """Build linear layers of the given widths, with BatchNorm and ReLU between them.

    Parameters
    ----------
    *widths : int
        Widths of the input, the hidden layers and the output.
    seed : int
        Root seed of the weights.
    label : str
        Name of the head, so that two heads of a task have different weights.
    """
    layers: list[nn.Module] = []
    with seeded(seed, label):
        for before, after in pairwise(widths[:-1]):
            layers += [nn.Linear(before, after, bias=False), nn.BatchNorm1d(after), nn.ReLU(inplace=True)]
        return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))


def scaled_sgd(task: nn.Module, *, lr: float, weight_decay: float, batch: int) -> torch.optim.Optimizer:
    """Return SGD with momentum 0.9; its rate is scaled linearly from a batch of 512."""
    weights = [weight for weight in task.parameters() if weight.requires_grad]
    return torch.optim.SGD(weights, lr=lr * batch / 512, momentum=0.9, weight_decay=weight_decay)


def scaled_adamw(task: nn.Module, *, lr: float, weight_decay: float, batch: int) -> torch.optim.Optimizer:
    """Return AdamW; its rate is scaled linearly from a batch of 512."""
    weights = [weight for weight in task.parameters() if weight.requires_grad]
    return torch.optim.AdamW(weights, lr=lr * batch / 512, weight_decay=weight_decay)


def refuse_lone_image(images: int) -> None:
    """Raise a UserError if a batch for comparisons between images has fewer than 2 images."""
    if images < 2:
        raise UserError(
            f"Pretraining needs at least 2 images per batch and process, got {images}.",
            "Use more images or a larger batch, for example --set pretrain.batch=32.",
            images,
        )
