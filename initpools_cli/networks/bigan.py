"""Encoder, generator and critic of a bidirectional generative adversarial network (Donahue et al. 2017)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from initpools_cli.networks.build import Encoder, scaled
from initpools_cli.networks.registry import networks
from initpools_cli.networks.vae import WIDTHS, downsampling, sides_of, upsampling

_SLOPE = 0.2


class BiGAN(Encoder):
    """Encoder and generator with the stages of the reference VAE, and a critic of pairs of image and code.

    Features are the flattened maps before the code: a linear probe is more accurate on them than on the code.

    Deviation from the paper: codes are normalized per dimension over the batch, without scale or shift. Otherwise they
    shrink toward one point within an epoch, which shows the critic which pairs are real.

    Parameters
    ----------
    channels : int
        Channels of the images.
    size : int
        Side of the images.
    width : float
        Factor on the widths 32, 64, 128, 256.
    latent : int
        Dimensions of the code.
    """

    def __init__(self, channels: int, size: int, width: float, latent: int) -> None:
        widths = [scaled(stage, width) for stage in WIDTHS]
        sides = sides_of(size)
        flat = widths[-1] * sides[-1] ** 2
        super().__init__(features=flat)
        self.latent = latent
        self.map_shape = (widths[-1], sides[-1], sides[-1])
        self.down = nn.Sequential(*downsampling([channels, *widths], sides, nn.BatchNorm2d, bias=False), nn.Flatten())
        self.code = nn.Sequential(nn.Linear(flat, latent, bias=False), nn.BatchNorm1d(latent, affine=False))
        self.widen = nn.Linear(latent, flat)
        self.up = nn.Sequential(*upsampling([*reversed(widths), widths[0]], sides[::-1], nn.BatchNorm2d, bias=False))
        self.up.extend([nn.Conv2d(widths[0], channels, 3, padding=1), nn.Sigmoid()])
        self.critic = Critic([channels, *widths], sides, latent)

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Encode images (b, c, h, w) in [0, 1] to codes (b, latent)."""
        return self.code(self.down(images))

    def generate(self, codes: torch.Tensor) -> torch.Tensor:
        """Generate images (b, c, h, w) in [0, 1] from codes (b, latent)."""
        return self.up(self.widen(codes).view(-1, *self.map_shape))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (b, c, h, w) to (b, features)."""
        return self.down(images)


class Critic(nn.Module):
    """Classifier of pairs: a real image with its code, or a generated image with its code.

    Every layer is divided by its spectral norm (Miyato et al. 2018, arXiv:1802.05957): with group norm instead, the
    critic won within an epoch. Each pass in training mode updates the estimate of the norm.

    Parameters
    ----------
    widths, sides : list of int
        Channels and sides of the maps, starting with the images.
    latent : int
        Dimensions of the code.
    """

    def __init__(self, widths: list[int], sides: list[int], latent: int) -> None:
        super().__init__()
        flat = widths[-1] * sides[-1] ** 2
        self.down = nn.Sequential(*downsampling(widths, sides, lambda _: nn.Identity()), nn.Flatten())
        self.seen = nn.Linear(flat, flat)
        self.told = nn.Linear(latent, flat)
        self.last = nn.Linear(flat, flat)
        self.verdict = nn.Linear(flat, 1)
        for layer in list(self.modules()):
            if isinstance(layer, nn.Conv2d | nn.Linear):
                spectral_norm(layer)

    def forward(self, images: torch.Tensor, codes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the last hidden layer (b, hidden), and the logit (b,) that the image is real."""
        joint = F.leaky_relu(self.seen(self.down(images)) + self.told(codes), _SLOPE)
        hidden = F.leaky_relu(self.last(joint), _SLOPE)
        return hidden, self.verdict(hidden).squeeze(1)


@networks.register("bigan", paper="Donahue et al. 2017, arXiv:1605.09782", general=False)
def bigan(channels: int, size: int, *, width: float = 1.0, latent: int = 64) -> Encoder:
    """Encoder, generator and critic of a BiGAN; features are the 1024 numbers (at 32 pixels) before the code."""
    return BiGAN(channels, size, width, latent)
