"""Brightness, contrast, saturation, hue and grayscale as one linear color map per image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from initpools_cli.augment.draws import Draws

# Luma weights of ITU-R BT.601, as in PIL and torchvision.
_LUMA = (0.299, 0.587, 0.114)
# The rows of YIQ: luma, and the two chroma axes that a change of hue rotates.
_YIQ = torch.tensor((_LUMA, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112)), dtype=torch.float64)
_QUARTER_TURN = torch.tensor(((0.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0)), dtype=torch.float64)
_TO_LUMA = torch.tensor(_LUMA).expand(3, 3)
_TO_CHROMA = torch.eye(3) - _TO_LUMA
_TO_TURNED_CHROMA = torch.linalg.solve(_YIQ, _QUARTER_TURN @ _YIQ).to(torch.float32)


@dataclass(frozen=True, eq=False)
class Jitter:
    """Color changes of a batch; each attribute is (b,) float32.

    Attributes
    ----------
    brightness, contrast, saturation : torch.Tensor
        Factors, 1 for no change; a saturation of 0 is grayscale.
    hue : torch.Tensor
        Rotation in turns of the color circle, 0 for no change.
    """

    brightness: torch.Tensor
    contrast: torch.Tensor
    saturation: torch.Tensor
    hue: torch.Tensor


def jitter(images: torch.Tensor, by: Jitter) -> torch.Tensor:
    """Change brightness, then contrast about the mean gray, then saturation, then hue.

    Deviations from torchvision's ColorJitter: the order is fixed; hue is a rotation of the chroma plane of YIQ, not of
    HSV; and values are clamped once at the end. All four are one 3 x 3 matrix and one offset per image.

    Parameters
    ----------
    images : torch.Tensor
        (b, c, h, w) float in [0, 1]; saturation and hue apply only to 3 channels.
    by : Jitter
        The changes.

    Returns
    -------
    torch.Tensor
        (b, c, h, w) float in [0, 1].
    """
    gain = by.brightness * by.contrast
    # Both chroma steps preserve gray, and so the offset of contrast.
    offset = (by.brightness - gain) * mean_gray(images)
    if images.shape[1] != 3:
        output = images * gain[:, None, None, None]
    else:
        angle = 2.0 * math.pi * by.hue
        chroma = gain * by.saturation
        parts = zip((gain, chroma * torch.cos(angle), chroma * torch.sin(angle)), _maps(images.device), strict=True)
        straight, kept, turned = (amount[:, None, None] * map_ for amount, map_ in parts)
        output = mix_channels(images, straight + kept + turned)
    return output.add_(offset[:, None, None, None]).clamp_(0.0, 1.0)


def _maps(device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return _TO_LUMA.to(device), _TO_CHROMA.to(device), _TO_TURNED_CHROMA.to(device)


def mix_channels(images: torch.Tensor, matrices: torch.Tensor) -> torch.Tensor:
    """Multiply each pixel's color with the matrix of its image: (b, 3, h, w) by (b, 3, 3) to (b, 3, h, w).

    Without BLAS, whose order of summation depends on the shape of the batch.
    """
    columns = matrices[:, :, :, None, None]
    output = columns[:, :, 0] * images[:, :1]
    term = torch.empty_like(output)
    for channel in (1, 2):
        output += torch.mul(columns[:, :, channel], images[:, channel : channel + 1], out=term)
    return output


def mean_gray(images: torch.Tensor) -> torch.Tensor:
    """Return the mean luma (b,) of images (b, c, h, w); without 3 channels, the mean."""
    # One axis at a time: a reduction over both may be split differently for one image.
    means = images.mean(dim=3).mean(dim=2)
    if images.shape[1] != 3:
        return means.mean(dim=1)
    return _LUMA[0] * means[:, 0] + _LUMA[1] * means[:, 1] + _LUMA[2] * means[:, 2]


def draw_jitter(
    draws: Draws,
    *,
    brightness: float,
    contrast: float,
    saturation: float,
    hue: float,
    probability: float = 1.0,
    gray: float = 0.0,
) -> Jitter:
    """Draw factors uniform in [max(0, 1 - strength), 1 + strength], and hue uniform in [-hue, hue] turns.

    Parameters
    ----------
    draws : Draws
        The random numbers.
    brightness, contrast, saturation, hue : float
        The strengths.
    probability : float
        Share of images that are jittered.
    gray : float
        Share of images that become gray.

    Returns
    -------
    Jitter
        Of (b,) float32 tensors.
    """
    u = draws.uniform("color", 6)
    applied = u[:, 4] < probability

    def factor(column: int, strength: float) -> torch.Tensor:
        low = max(0.0, 1.0 - strength)
        return torch.where(applied, low + (1.0 + strength - low) * u[:, column], 1.0)

    return Jitter(
        brightness=factor(0, brightness),
        contrast=factor(1, contrast),
        saturation=torch.where(u[:, 5] < gray, 0.0, factor(2, saturation)),
        hue=torch.where(applied, hue * (2.0 * u[:, 3] - 1.0), 0.0),
    )
