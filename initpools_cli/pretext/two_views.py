"""What the tasks on several views of an image share: making the views, the heads, the optimizer's rate."""

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
    """Two random views of each image, stacked by view: (2b, c, h, w)."""
    return torch.cat([augment(images, replace(draws, view=2 * draws.view + k), recipe) for k in (0, 1)])


class PairTask(Pretext):
    """A task on two random views of each image, with a projector behind the encoder."""

    recipe_default = "simclr"
    projector: nn.Module

    def inputs(self, images: Tensor, draws: Draws) -> tuple[Tensor, ...]:
        """Both views, stacked: ((2b, c, h, w),)."""
        return (both_views(images, draws, self.recipe),)

    def projections(self, images: Tensor) -> Tensor:
        """What the projector makes of the features of unaugmented images (b, h, w, c) uint8."""
        return self.projector(self.encoder(to_float(images)))


def mlp(*widths: int, seed: int, label: str) -> nn.Sequential:
    """Linear layers of those widths, with BatchNorm and ReLU between them.

    Parameters
    ----------
    *widths : int
        Of the input, of every hidden layer, of the output.
    seed : int
        Root seed of the weights.
    label : str
        What the head is, so that two heads of a task differ.
    """
    layers: list[nn.Module] = []
    with seeded(seed, label):
        for before, after in pairwise(widths[:-1]):
            layers += [nn.Linear(before, after, bias=False), nn.BatchNorm1d(after), nn.ReLU(inplace=True)]
        return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))


def scaled_sgd(task: nn.Module, *, lr: float, weight_decay: float, batch: int) -> torch.optim.Optimizer:
    """SGD with momentum 0.9 on what has a gradient, its rate scaled linearly from a batch of 512."""
    trained = [weight for weight in task.parameters() if weight.requires_grad]
    return torch.optim.SGD(trained, lr=lr * batch / 512, momentum=0.9, weight_decay=weight_decay)


def scaled_adamw(task: nn.Module, *, lr: float, weight_decay: float, batch: int) -> torch.optim.Optimizer:
    """AdamW on what has a gradient, its rate scaled linearly from a batch of 512."""
    trained = [weight for weight in task.parameters() if weight.requires_grad]
    return torch.optim.AdamW(trained, lr=lr * batch / 512, weight_decay=weight_decay)


def refuse_lone_image(images: int) -> None:
    """A UserError where a batch that is compared with itself has one image only."""
    if images < 2:
        raise UserError(
            "A training batch of 1 image has no spread to normalize by or to learn from.",
            "Use at least 2 images a process, for example --set pretrain.batch=32.",
        )
