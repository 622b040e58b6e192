"""Rotation prediction: the quarter turns of an image (Gidaris et al. 2018)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from initpools_cli.augment.draws import Draws
from initpools_cli.augment.pipelines import augment
from initpools_cli.core.bounds import Factor, PositiveFactor
from initpools_cli.core.errors import UserError
from initpools_cli.networks.build import Encoder, seeded
from initpools_cli.pretext.base import Pretext
from initpools_cli.pretext.registry import pretexts


@pretexts.register("rotation", paper="Gidaris et al. 2018, arXiv:1803.07728")
class Rotation(Pretext):
    """Predict by which of 0, 90, 180 and 270 degrees each image was rotated.

    Score: cross-entropy (nats) averaged over the four turns of an image, and over views.

    Deviation from the paper: Adam in place of stepped SGD, and one linear layer on the pooled features as the head.
    """

    recipe_default = "weak"
    high_score = "its orientation is hard to predict"

    def __init__(
        self,
        encoder: Encoder,
        recipe: str,
        seed: int,
        *,
        lr: PositiveFactor = 2e-3,
        weight_decay: Factor = 1e-4,
    ) -> None:
        super().__init__(encoder, recipe)
        with seeded(seed, "rotation head"):
            self.head = nn.Linear(encoder.features, 4)
        self.lr = lr
        self.weight_decay = weight_decay

    def inputs(self, images: Tensor, draws: Draws) -> tuple[Tensor, ...]:
        """All four turns of one view, stacked by turn: ((4b, c, h, w),)."""
        height, width = images.shape[1:3]
        if height != width:
            raise UserError(
                f"The rotation task needs square images, but these have {height}x{width} pixels.",
                f"Make them square with --set dataset.size={min(height, width)}.",
                f"{height}x{width}",
            )
        view = augment(images, draws, self.recipe)
        return (torch.cat([torch.rot90(view, turns, (2, 3)) for turns in range(4)]),)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (4b, 4)."""
        return self.head(self.encoder(images))

    def losses(self, inputs: tuple[Tensor, ...], outputs: Tensor, ids: Tensor, reference: Any = None) -> Tensor:
        """Cross-entropy averaged over the four turns: (b,) float64, nats."""
        turns = torch.arange(4, device=outputs.device).repeat_interleave(len(ids))
        return F.cross_entropy(outputs.double(), turns, reduction="none").view(4, -1).mean(0)

    def optimizer(self, batch: int) -> torch.optim.Optimizer:
        """Adam with decoupled weight decay."""
        return torch.optim.AdamW(self.parameters(), lr=self.lr, weight_decay=self.weight_decay)
