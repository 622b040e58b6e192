"""Resampling under one affine map per image, which crops, flips, rotations and shears are made of."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F


def warp(
    images: torch.Tensor, matrices: torch.Tensor, padding: Literal["zeros", "border", "reflection"] = "zeros"
) -> torch.Tensor:
    """Sample each image bilinearly at ``matrices @ (x, y, 1)`` for every output position (x, y).

    No antialiasing: a map that shrinks an image much leaves moire, the price of a single pass.

    Parameters
    ----------
    images : torch.Tensor
        (b, c, h, w) float.
    matrices : torch.Tensor
        (b, 2, 3) float, from output to input positions; x and y run over [-1, 1] from edge to edge of the image.
    padding : {"zeros", "border", "reflection"}
        What lies outside the image.

    Returns
    -------
    torch.Tensor
        (b, c, h, w) float.
    """
    height, width = images.shape[-2:]
    x = (2.0 * torch.arange(width, device=images.device) + 1.0) / width - 1.0
    y = (2.0 * torch.arange(height, device=images.device) + 1.0) / height - 1.0
    columns = matrices[:, :, 0, None, None] * x + matrices[:, :, 2, None, None]
    planes = columns + matrices[:, :, 1, None, None] * y[:, None]
    return F.grid_sample(images, planes.permute(0, 2, 3, 1), mode="bilinear", padding_mode=padding, align_corners=False)
