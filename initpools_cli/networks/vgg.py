"""VGG with batch norm (Simonyan & Zisserman 2015, arXiv:1409.1556), with average pooling instead of dense layers."""

from __future__ import annotations

import torch
from torch import nn
from torchvision.models.vgg import cfgs, make_layers

from initpools_cli.networks.build import Encoder, initialize, scaled
from initpools_cli.networks.registry import networks

_PAPER = "Simonyan & Zisserman 2015, arXiv:1409.1556"


class VGG(Encoder):
    """torchvision's stack of convolutions and global average pooling.

    Parameters
    ----------
    table : str
        Letter of the paper's table 1: A, B, D or E.
    channels : int
        Channels of the images.
    size : int
        Side of the images; poolings that would leave no pixel are omitted.
    width : float
        Factor on the widths.
    """

    def __init__(self, table: str, channels: int, size: int, width: float) -> None:
        plan: list[str | int] = []
        for entry in cfgs[table]:
            if isinstance(entry, int):
                plan.append(scaled(entry, width))
            elif size >= 2:
                plan.append(entry)
                size //= 2
        super().__init__(features=[entry for entry in plan if isinstance(entry, int)][-1])
        self.layers = make_layers(plan, batch_norm=True)
        first = self.layers[0]
        self.layers[0] = nn.Conv2d(channels, first.out_channels, kernel_size=3, padding=1)
        initialize(self)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (b, c, h, w) to (b, features)."""
        maps: torch.Tensor = self.layers(images)
        return maps.mean(dim=(2, 3))


@networks.register("vgg11", paper=_PAPER)
def vgg11(channels: int, size: int, *, width: float = 1.0) -> Encoder:
    """VGG of 8 convolutions, 512 features."""
    return VGG("A", channels, size, width)


@networks.register("vgg13", paper=_PAPER)
def vgg13(channels: int, size: int, *, width: float = 1.0) -> Encoder:
    """VGG of 10 convolutions, 512 features."""
    return VGG("B", channels, size, width)


@networks.register("vgg16", paper=_PAPER)
def vgg16(channels: int, size: int, *, width: float = 1.0) -> Encoder:
    """VGG of 13 convolutions, 512 features."""
    return VGG("D", channels, size, width)


@networks.register("vgg19", paper=_PAPER)
def vgg19(channels: int, size: int, *, width: float = 1.0) -> Encoder:
    """VGG of 16 convolutions, 512 features."""
    return VGG("E", channels, size, width)
