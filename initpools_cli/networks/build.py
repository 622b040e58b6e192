"""Construction of networks by name, with weights that depend only on the seed."""

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
    """Base class of networks that map images (b, c, h, w) to features (b, features), float.

    Attributes
    ----------
    features : int
        Number of features.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features


def build_encoder(name: str, *, channels: int, size: int, width: float = 1.0, seed: int) -> Encoder:
    """Build a registered network with initial weights.

    Parameters
    ----------
    name : str
        A name in the registry `networks`.
    channels : int
        Channels of the images.
    size : int
        Height and width of the images, pixels.
    width : float
        Factor on the numbers of channels, which are rounded to multiples of 8.
    seed : int
        Root seed of the weights; the state of torch's generators is restored.

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
            size,
        )
    if width <= 0:
        raise UserError(f"pretrain.width = {width} is not positive.", "Set pretrain.width to a number above 0.", width)
    with seeded(seed, method.name):
        encoder: Encoder = method.build(channels, size, width=width)
    return encoder


def projector(features: int, hidden: int, out: int, seed: int) -> nn.Sequential:
    """Build the projection head of a contrastive loss: Linear, BatchNorm, ReLU, Linear.

    Parameters
    ----------
    features, hidden, out : int
        Widths of the input, the hidden layer and the output.
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
    """Seed torch for the block from a seed and a label; the state of its generators is restored."""
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which also seeds accelerators, whose state is not restored.
        torch.default_generator.manual_seed(derive(seed, "weights", label))
        yield


def scaled(channels: int, width: float) -> int:
    """Return `channels` times `width`, rounded to a multiple of 8 for vectorized arithmetic."""
    return max(8, round(channels * width / 8.0) * 8)


def initialize(module: nn.Module) -> None:
    """Initialize convolutions with normal weights by fan-out (He et al. 2015, arXiv:1502.01852), as in torchvision."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
