"""Convolutional variational autoencoder (Kingma & Welling 2014, arXiv:1312.6114)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import nn

from initpools_cli.networks.build import Encoder, scaled
from initpools_cli.networks.registry import networks

#: Channels of the four stages.
WIDTHS = (32, 64, 128, 256)
# Maps of this side are not halved further.
_SMALLEST_MAP = 2


class VAE(Encoder):
    """Encoder and decoder of four stages (3 x 3 convolution, batch norm, leaky ReLU) with a Gaussian code.

    Deviation from the usual network of this layout, which ends in a Tanh: images are read and written in [0, 1],
    through a sigmoid, so that a reconstruction error is in the units of the pixels.

    Parameters
    ----------
    channels : int
        Channels of the images.
    size : int
        Side of the images; a stage halves it, rounding up, while it is above 2.
    width : float
        Factor on the widths 32, 64, 128, 256.
    latent : int
        Dimensions of the code.
    """

    def __init__(self, channels: int, size: int, width: float, latent: int) -> None:
        super().__init__(features=latent)
        widths = [scaled(stage, width) for stage in WIDTHS]
        sides = sides_of(size)
        self.code_shape = (widths[-1], sides[-1], sides[-1])
        flat = widths[-1] * sides[-1] ** 2
        self.down = nn.Sequential(*downsampling([channels, *widths], sides, nn.BatchNorm2d), nn.Flatten())
        self.mu = nn.Linear(flat, latent)
        self.logvar = nn.Linear(flat, latent)
        self.widen = nn.Linear(latent, flat)
        self.up = nn.Sequential(*upsampling([*reversed(widths), widths[0]], sides[::-1], nn.BatchNorm2d))
        self.up.extend([nn.Conv2d(widths[0], channels, 3, padding=1), nn.Sigmoid()])

    def encode(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode images (b, c, h, w) in [0, 1] to the mean and the log variance of the code, each (b, latent)."""
        flat = self.down(images)
        return self.mu(flat), self.logvar(flat)

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """Decode codes (b, latent) to images (b, c, h, w) in [0, 1]."""
        images: torch.Tensor = self.up(self.widen(codes).view(-1, *self.code_shape))
        return images

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (b, c, h, w) to the mean of the code, (b, latent)."""
        return self.encode(images)[0]


def sides_of(size: int) -> list[int]:
    """Return the sides of the maps before and after each of the four stages."""
    sides = [size]
    for _ in WIDTHS:
        sides.append((sides[-1] + 1) // 2 if sides[-1] > _SMALLEST_MAP else sides[-1])
    return sides


def downsampling(
    widths: Sequence[int], sides: Sequence[int], norm: Callable[[int], nn.Module], *, bias: bool = True
) -> list[nn.Module]:
    """Build encoder stages (3 x 3 convolution, norm, leaky ReLU) for maps of the given sides and channels.

    Parameters
    ----------
    norm : callable
        Creates the norm for a number of channels.
    bias : bool
        Whether convolutions have a bias; a batch norm cancels it, but the reference has it.
    """
    layers: list[nn.Module] = []
    for (before, after), (side, target) in zip(pairwise(widths), pairwise(sides), strict=True):
        stride = 1 if side == target else 2
        layers += [nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=bias), norm(after), nn.LeakyReLU()]
    return layers


def upsampling(
    widths: Sequence[int], sides: Sequence[int], norm: Callable[[int], nn.Module], *, bias: bool = True
) -> list[nn.Module]:
    """Build decoder stages of transposed convolutions, the inverse of `shrinking`."""
    layers: list[nn.Module] = []
    for (before, after), (side, target) in zip(pairwise(widths), pairwise(sides), strict=True):
        layers += [_grow(before, after, side, target, bias), norm(after), nn.LeakyReLU()]
    return layers


def _grow(before: int, after: int, side: int, target: int, bias: bool) -> nn.ConvTranspose2d:
    """Build the transposed convolution of a stage, from maps of `side` pixels to `target`."""
    if side == target:
        return nn.ConvTranspose2d(before, after, 3, padding=1, bias=bias)
    beyond = target - (2 * side - 1)
    return nn.ConvTranspose2d(before, after, 3, stride=2, padding=1, output_padding=beyond, bias=bias)


@networks.register("vae", paper="Kingma & Welling 2014, arXiv:1312.6114", general=False)
def vae(channels: int, size: int, *, width: float = 1.0, latent: int = 128) -> Encoder:
    """Variational autoencoder; its features are the 128 means of the code."""
    return VAE(channels, size, width, latent)
