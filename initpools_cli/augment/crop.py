"""Random crops: boxes resized to the image size, and shifts by whole pixels."""

from __future__ import annotations

import math

import torch

from initpools_cli.augment.affine import warp
from initpools_cli.augment.draws import Draws


def crop_resize(images: torch.Tensor, boxes: torch.Tensor, flips: torch.Tensor) -> torch.Tensor:
    """Resize one box per image to the image size, with an optional flip, in one resampling.

    Parameters
    ----------
    images : torch.Tensor
        (b, c, h, w) float.
    boxes : torch.Tensor
        (b, 4) float: left, top, width, height as fractions of the image.
    flips : torch.Tensor
        (b,) bool.

    Returns
    -------
    torch.Tensor
        (b, c, h, w) float.
    """
    left, top, width, height = boxes.unbind(1)
    matrices = torch.zeros(len(boxes), 2, 3, device=images.device)
    matrices[:, 0, 0] = torch.where(flips, -width, width)
    matrices[:, 1, 1] = height
    matrices[:, 0, 2] = 2.0 * left + width - 1.0
    matrices[:, 1, 2] = 2.0 * top + height - 1.0
    return warp(images, matrices, "border")


def draw_boxes(
    draws: Draws, scale: tuple[float, float] = (0.2, 1.0), ratio: tuple[float, float] = (3 / 4, 4 / 3)
) -> torch.Tensor:
    """Draw boxes with uniform area and log-uniform aspect ratio, as in Inception-style crops (Szegedy et al. 2015).

    Deviations from torchvision's RandomResizedCrop: the ratio is drawn among those that fit into the image, not by
    rejection, and boxes are not rounded to whole pixels.

    Returns
    -------
    torch.Tensor
        (b, 4) float32: left, top, width, height as fractions of the image.
    """
    u = draws.uniform("crop", 4)
    area = scale[0] + (scale[1] - scale[0]) * u[:, 0]
    # width = sqrt(area * ratio) and height = sqrt(area / ratio) both fit while |log ratio| <= -log area.
    fits = -torch.log(area)
    low = torch.maximum(-fits, torch.full_like(fits, math.log(ratio[0])))
    high = torch.minimum(fits, torch.full_like(fits, math.log(ratio[1])))
    half_log_ratio = 0.5 * (low + (high - low) * u[:, 1])
    side = torch.sqrt(area)
    width = (side * torch.exp(half_log_ratio)).clamp(max=1.0)
    height = (side * torch.exp(-half_log_ratio)).clamp(max=1.0)
    return torch.stack(((1.0 - width) * u[:, 2], (1.0 - height) * u[:, 3], width, height), dim=1)


def shift(images: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """Shift each image by whole pixels, with reflection at the edge pixel.

    Parameters
    ----------
    images : torch.Tensor
        (b, c, h, w).
    offsets : torch.Tensor
        (b, 2) int64, rows and columns, smaller than the image's sides.

    Returns
    -------
    torch.Tensor
        (b, c, h, w).
    """
    batch, channels, height, width = images.shape
    rows = _reflect(torch.arange(height, device=images.device) - offsets[:, :1], height)
    columns = _reflect(torch.arange(width, device=images.device) - offsets[:, 1:], width)
    source = (rows[:, :, None] * width + columns[:, None, :]).view(batch, 1, -1)
    return images.reshape(batch, channels, -1).gather(2, source.expand(-1, channels, -1)).view_as(images)


def _reflect(positions: torch.Tensor, length: int) -> torch.Tensor:
    return (length - 1) - ((length - 1) - positions.abs()).abs()


def draw_shifts(draws: Draws, reach: int) -> torch.Tensor:
    """Draw offsets (b, 2) int64 in [-reach, reach], which equal a crop of the image padded by `reach` pixels."""
    return draws.integers("shift", 2 * reach + 1, 2) - reach
