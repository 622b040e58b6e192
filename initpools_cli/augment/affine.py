"""Resampling with one affine map per image, for crops, flips, rotations and shears."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F


def warp(
    images: torch.Tensor, matrices: torch.Tensor, padding: Literal["zeros", "border", "reflection"] = "zeros"
) -> torch.Tensor:
    """Sample each image bilinearly at ``matrices @ (x, y, 1)`` for every output position (x, y).

    There is no antialiasing: maps that shrink an image strongly cause moire.

    Parameters
    ----------
    images : torch.Tensor
        (b, c, h, w) float.
    matrices : torch.Tensor
        (b, 2, 3) float, from output to input positions; x and y run over [-1, 1] from edge to edge of the image.
    padding : {"zeros", "border", "reflection"}
        Values outside the image.

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
