"""Mirror images left to right."""

from __future__ import annotations

import torch

from initpools_cli.augment.draws import Draws


def flip(images: torch.Tensor, flips: torch.Tensor) -> torch.Tensor:
    """Mirror the images (b, c, h, w) where `flips` (b,) bool is set."""
    return torch.where(flips[:, None, None, None], images.flip(3), images)


def draw_flips(draws: Draws, probability: float = 0.5) -> torch.Tensor:
    """(b,) bool, set with that probability."""
    return draws.uniform("flip") < probability
