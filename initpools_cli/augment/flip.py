"""Horizontal flips."""

from __future__ import annotations

import torch

from initpools_cli.augment.draws import Draws


def flip(images: torch.Tensor, flips: torch.Tensor) -> torch.Tensor:
    """Mirror images (b, c, h, w) left to right where `flips` (b,) is True."""
    return torch.where(flips[:, None, None, None], images.flip(3), images)


def draw_flips(draws: Draws, probability: float = 0.5) -> torch.Tensor:
    """Draw flips (b,) bool, True with the given probability."""
    return draws.uniform("flip") < probability
