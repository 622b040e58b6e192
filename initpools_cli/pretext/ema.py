"""Exponential moving average of a network: momentum encoder, target network or teacher."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn


class Teacher(nn.Module):
    """The exponential moving average of a chain of networks; no gradient reaches it.

    In training it normalizes with the statistics of its own batch, as the student does, and keeps their running mean
    for scoring. Averaging the student's statistics in place of that (Cai et al. 2021, arXiv:2101.08482) lags so far
    behind in the first hundreds of steps that all targets fall together.

    Parameters
    ----------
    networks : nn.Module
        Applied one after the other; the teacher starts as their copy.
    """

    def __init__(self, *networks: nn.Module) -> None:
        super().__init__()
        self.networks = nn.Sequential(*(copy.deepcopy(network) for network in networks)).requires_grad_(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Return the output of the last network."""
        return self.networks(images)

    @torch.no_grad()
    def follow(self, *networks: nn.Module, momentum: float) -> None:
        """Update every weight to ``momentum * own + (1 - momentum) * theirs``."""
        for own, theirs in zip(self.networks.parameters(), nn.Sequential(*networks).parameters(), strict=True):
            own.lerp_(theirs, 1 - momentum)


def momentum_at(progress: float, base: float) -> float:
    """Return the momentum at `progress` in [0, 1], a half cosine from `base` to 1 (Grill et al. 2020)."""
    return 1 - (1 - base) * (1 + math.cos(math.pi * progress)) / 2
