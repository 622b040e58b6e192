"""Rotations by quarter turns, without resampling, and by any angle."""

from __future__ import annotations

import torch

from initpools_cli.augment.affine import warp
from initpools_cli.augment.draws import Draws


def quarter_turns(images: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """Rotate square images (b, c, s, s) counter-clockwise by `turns` (b,) int64 times 90 degrees."""
    output = images
    for turn in (1, 2, 3):
        output = torch.where((turns % 4 == turn)[:, None, None, None], images.rot90(turn, (2, 3)), output)
    return output


def rotate(images: torch.Tensor, degrees: torch.Tensor) -> torch.Tensor:
    """Rotate square images (b, c, s, s) counter-clockwise about the center by `degrees` (b,); outside is black."""
    angle = torch.deg2rad(degrees)
    cos, sin, zero = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle)
    return warp(images, torch.stack((cos, -sin, zero, sin, cos, zero), dim=1).view(-1, 2, 3))


def draw_quarter_turns(draws: Draws) -> torch.Tensor:
    """Draw quarter turns (b,) int64, uniform over 0, 1, 2, 3."""
    return draws.integers("quarter-turns", 4)


def draw_degrees(draws: Draws, reach: float) -> torch.Tensor:
    """Draw angles (b,) float32, uniform in [-reach, reach) degrees."""
    return draws.uniform("rotate", low=-reach, high=reach)
