"""Build a network from its name, with weights that depend on the seed and on nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from initpools_cli.core.errors import UserError
from initpools_cli.core.seeds import derive
from initpools_cli.networks.registry import networks

SMALLEST_IMAGE = 8


class Encoder(nn.Module):
    """A network that maps images (b, c, h, w) to (b, features) float.

    Attributes
    ----------
    features : int
        Width of what it returns.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features


def build_encoder(name: str, *, channels: int, size: int, width: float = 1.0, seed: int) -> Encoder:
    """The registered network of that name, freshly initialized.

    Parameters
    ----------
    name : str
        A name in the registry `networks`.
    channels : int
        Channels of the images.
    size : int
        Height and width of the images, pixels.
    width : float
        Factor on the number of channels inside, rounded to a multiple of 8.
    seed : int
        Root seed of the weights; torch's own generators are left as they were.

    Returns
    -------
    Encoder
        On the CPU, in training mode.

    Raises
    ------
    UserError
        An unknown name, images that are too small, or a width that is not positive.
    """
    method = networks.get(name)
    if size < SMALLEST_IMAGE:
        raise UserError(
            f"Images of {size} x {size} pixels are too small for a network.",
            f"Set dataset.size to {SMALLEST_IMAGE} or more.",
        )
    if width <= 0:
        raise UserError(
            f"pretrain.width = {width} is not valid.", "Set it to a number above 0; 1 is the usual network."
        )
    with seeded(seed, method.name):
        encoder: Encoder = method.build(channels, size, width=width)
    return encoder


def projector(features: int, hidden: int, out: int, seed: int) -> nn.Sequential:
    """The head a contrastive loss is computed behind: Linear, BatchNorm, ReLU, Linear.

    Parameters
    ----------
    features, hidden, out : int
        Widths of its input, its middle and its output.
    seed : int
        Root seed of the weights.
    """
    with seeded(seed, "projector"):
        return nn.Sequential(
            nn.Linear(features, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, out),
        )


@contextmanager
def seeded(seed: int, label: str) -> Iterator[None]:
    """Weights made inside come from (seed, label), and torch's generators end as they began."""
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which would also seed the accelerators, and those are not restored.
        torch.default_generator.manual_seed(derive(seed, "weights", label))
        yield


def scaled(channels: int, width: float) -> int:
    """`channels` times `width`, as a multiple of 8 that the processor's vectors fit."""
    return max(8, round(channels * width / 8.0) * 8)


def initialize(module: nn.Module) -> None:
    """Kaiming's normal weights by fan-out for convolutions (He et al. 2015, arXiv:1502.01852), as in torchvision."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
