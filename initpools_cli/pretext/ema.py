"""A slowly moving copy of a network, for tasks that learn from their own past: momentum encoder, target, teacher."""

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
        """What the last of the networks returns."""
        return self.networks(images)

    @torch.no_grad()
    def follow(self, *networks: nn.Module, momentum: float) -> None:
        """Every weight becomes ``momentum * own + (1 - momentum) * theirs``."""
        for own, theirs in zip(self.networks.parameters(), nn.Sequential(*networks).parameters(), strict=True):
            own.lerp_(theirs, 1 - momentum)


def momentum_at(progress: float, base: float) -> float:
    """From `base` to 1 along half a cosine (Grill et al. 2020, arXiv:2006.07733), at `progress` in [0, 1]."""
    return 1 - (1 - base) * (1 + math.cos(math.pi * progress)) / 2
