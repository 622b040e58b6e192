"""Residual networks (He et al. 2016, arXiv:1512.03385), with a stem for small or large images."""

from __future__ import annotations

import torch
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from initpools_cli.networks.build import Encoder, initialize, scaled
from initpools_cli.networks.registry import networks

_PAPER = "He et al. 2016, arXiv:1512.03385"
# ImageNet's stem divides the side by 4 before the first block, which is too much for images up to this size.
_LARGEST_SMALL_IMAGE = 64


class ResNet(Encoder):
    """Four groups of torchvision's blocks and global average pooling.

    Parameters
    ----------
    block : type
        BasicBlock or Bottleneck.
    depths : tuple of int
        Blocks in each group.
    channels : int
        Channels of the images.
    size : int
        Side of the images: up to 64 pixels the stem is one 3 x 3 convolution, above it ImageNet's 7 x 7 and a pooling.
    width : float
        Factor on the widths 64, 128, 256, 512.
    """

    def __init__(
        self, block: type[BasicBlock | Bottleneck], depths: tuple[int, ...], channels: int, size: int, width: float
    ) -> None:
        widths = [scaled(group, width) for group in (64, 128, 256, 512)]
        super().__init__(features=widths[-1] * block.expansion)
        small = size <= _LARGEST_SMALL_IMAGE
        self.stem = nn.Sequential(
            nn.Conv2d(channels, widths[0], 3, padding=1, bias=False)
            if small
            else nn.Conv2d(channels, widths[0], 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
            nn.Identity() if small else nn.MaxPool2d(3, stride=2, padding=1),
        )
        groups = []
        before = widths[0]
        for number, (planes, depth) in enumerate(zip(widths, depths, strict=True)):
            groups.append(_group(block, before, planes, depth, stride=1 if number == 0 else 2))
            before = planes * block.expansion
        self.groups = nn.Sequential(*groups)
        initialize(self)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (b, c, h, w) to (b, features)."""
        maps: torch.Tensor = self.groups(self.stem(images))
        return maps.mean(dim=(2, 3))


def _group(block: type[BasicBlock | Bottleneck], before: int, planes: int, depth: int, stride: int) -> nn.Sequential:
    after = planes * block.expansion
    shortcut = None
    if stride != 1 or before != after:
        shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride=stride, bias=False), nn.BatchNorm2d(after))
    return nn.Sequential(block(before, planes, stride, shortcut), *(block(after, planes) for _ in range(depth - 1)))


@networks.register("resnet18", paper=_PAPER)
def resnet18(channels: int, size: int, *, width: float = 1.0) -> Encoder:
    """ResNet of 18 layers, 512 features."""
    return ResNet(BasicBlock, (2, 2, 2, 2), channels, size, width)


@networks.register("resnet34", paper=_PAPER)
def resnet34(channels: int, size: int, *, width: float = 1.0) -> Encoder:
    """ResNet of 34 layers, 512 features."""
    return ResNet(BasicBlock, (3, 4, 6, 3), channels, size, width)


@networks.register("resnet50", paper=_PAPER)
def resnet50(channels: int, size: int, *, width: float = 1.0) -> Encoder:
    """ResNet of 50 layers, 2048 features."""
    return ResNet(Bottleneck, (3, 4, 6, 3), channels, size, width)
