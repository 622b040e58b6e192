"""Rotations by any angle."""

from __future__ import annotations

import torch

from initpools_cli.augment.affine import warp


def rotate(images: torch.Tensor, degrees: torch.Tensor) -> torch.Tensor:
    """Rotate square images (b, c, s, s) counter-clockwise about the center by `degrees` (b,); outside is black."""
    angle = torch.deg2rad(degrees)
    cos, sin, zero = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle)
    return warp(images, torch.stack((cos, -sin, zero, sin, cos, zero), dim=1).view(-1, 2, 3))
