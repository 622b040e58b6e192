"""The convolutional variational autoencoder (Kingma & Welling 2014, arXiv:1312.6114) that pools are drawn from."""

from __future__ import annotations

import torch
from torch import nn

from initpools_cli.networks.build import Encoder, scaled
from initpools_cli.networks.registry import networks

# Below this side, a further halving would leave the latent code nothing to be read from.
_SMALLEST_MAP = 2


class VAE(Encoder):
    """Four stages of 3 x 3 convolution, batch norm and leaky ReLU each way, around a Gaussian code.

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
        widths = [scaled(stage, width) for stage in (32, 64, 128, 256)]
        sides = [size]
        for _ in widths:
            sides.append((sides[-1] + 1) // 2 if sides[-1] > _SMALLEST_MAP else sides[-1])
        self.code_shape = (widths[-1], sides[-1], sides[-1])
        flat = widths[-1] * sides[-1] ** 2

        down: list[nn.Module] = []
        for stage, (before, after) in enumerate(zip([channels, *widths], widths, strict=False)):
            stride = 1 if sides[stage] == sides[stage + 1] else 2
            down += [nn.Conv2d(before, after, 3, stride=stride, padding=1), nn.BatchNorm2d(after), nn.LeakyReLU()]
        self.down = nn.Sequential(*down, nn.Flatten())
        self.mu = nn.Linear(flat, latent)
        self.logvar = nn.Linear(flat, latent)

        self.widen = nn.Linear(latent, flat)
        up: list[nn.Module] = []
        after_up = [*reversed(widths[:-1]), widths[0]]
        for stage, (before, after) in enumerate(zip(reversed(widths), after_up, strict=True)):
            up += [_grow(before, after, sides[-1 - stage], sides[-2 - stage]), nn.BatchNorm2d(after), nn.LeakyReLU()]
        self.up = nn.Sequential(*up, nn.Conv2d(widths[0], channels, 3, padding=1), nn.Sigmoid())

    def encode(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(b, c, h, w) in [0, 1] to the mean and the log variance of the code, each (b, latent)."""
        flat = self.down(images)
        return self.mu(flat), self.logvar(flat)

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """(b, latent) to images (b, c, h, w) in [0, 1]."""
        images: torch.Tensor = self.up(self.widen(codes).view(-1, *self.code_shape))
        return images

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(b, c, h, w) to the mean of the code, (b, latent)."""
        return self.encode(images)[0]


def _grow(before: int, after: int, side: int, target: int) -> nn.ConvTranspose2d:
    """The transposed convolution that undoes a stage: from maps of `side` pixels to `target`."""
    if side == target:
        return nn.ConvTranspose2d(before, after, 3, padding=1)
    return nn.ConvTranspose2d(before, after, 3, stride=2, padding=1, output_padding=target - (2 * side - 1))


@networks.register("vae", paper="Kingma & Welling 2014, arXiv:1312.6114")
def vae(channels: int, size: int, *, width: float = 1.0, latent: int = 128) -> Encoder:
    """Variational autoencoder; as an encoder it gives the 128 means of its code."""
    return VAE(channels, size, width, latent)
