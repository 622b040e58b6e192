"""SimSiam: one view predicts the other, which has no gradient (Chen & He 2021)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from initpools_cli.core.bounds import Factor, PositiveFactor, Units
from initpools_cli.networks.build import Encoder
from initpools_cli.pretext.byol import crossed_cosine
from initpools_cli.pretext.registry import pretexts
from initpools_cli.pretext.two_views import PairTask, mlp, scaled_adamw


@pretexts.register("simsiam", paper="Chen & He 2021, arXiv:2011.10566")
class SimSiam(PairTask):
    """Predict the representation of one view from another, without gradient to the target.

    Score: minus the cosine of the prediction from one view and the projection of the other, averaged over both ways
    and over pairs of views; in [-1, 1].

    Deviations from the paper: both views share their batch statistics; the predictor's rate decays like all others;
    narrower heads; AdamW in place of SGD, its rate stated for a batch of 512.
    """

    high_score = "one view does not predict another"

    def __init__(
        self,
        encoder: Encoder,
        recipe: str,
        seed: int,
        *,
        hidden: Units = 512,
        out: Units = 512,
        bottleneck: Units = 128,
        lr: PositiveFactor = 4e-3,
        weight_decay: Factor = 1e-4,
    ) -> None:
        super().__init__(encoder, recipe)
        layers = mlp(encoder.features, hidden, out, seed=seed, label="projector")
        # In the paper's ablation, accuracy without this last batch norm is near chance.
        self.projector = nn.Sequential(*layers, nn.BatchNorm1d(out, affine=False))
        self.predictor = mlp(out, bottleneck, out, seed=seed, label="predictor")
        self.lr = lr
        self.weight_decay = weight_decay

    def forward(self, views: Tensor) -> tuple[Tensor, Tensor]:
        """Predictions (2b, out), and projections (2b, out) without gradient."""
        projections = self.projector(self.encoder(views))
        return self.predictor(projections), projections.detach()

    def losses(self, inputs: tuple[Tensor, ...], outputs: Any, ids: Tensor, reference: Any = None) -> Tensor:
        """Minus the cosine of prediction and projection, averaged over both ways: (b,) float64."""
        return -crossed_cosine(*outputs)

    def optimizer(self, batch: int) -> torch.optim.Optimizer:
        """AdamW, its rate scaled linearly from a batch of 512."""
        return scaled_adamw(self, lr=self.lr, weight_decay=self.weight_decay, batch=batch)
