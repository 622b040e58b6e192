"""BYOL: one view's representation predicts what a moving average makes of the other view (Grill et al. 2020)."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from initpools_cli.core.bounds import Factor, PositiveFactor, Units
from initpools_cli.networks.build import Encoder, projector
from initpools_cli.pretext.ema import Teacher, momentum_at
from initpools_cli.pretext.registry import pretexts
from initpools_cli.pretext.two_views import PairTask, mlp, scaled_adamw


def crossed_cosine(prediction: Tensor, target: Tensor) -> Tensor:
    """Cosine of each image's prediction from one view and the target from its other view, averaged over both ways.

    Parameters
    ----------
    prediction, target : Tensor
        (2b, d), stacked by view.

    Returns
    -------
    Tensor
        (b,) float64 in [-1, 1].
    """
    other = torch.cat(target.chunk(2)[::-1])
    return F.cosine_similarity(prediction.double(), other.double(), dim=1).view(2, -1).mean(0)


@pretexts.register("byol", paper="Grill et al. 2020, arXiv:2006.07733")
class BYOL(PairTask):
    """Predict the representation of one view by a moving average of the network from another view.

    Score: 2 - 2 cos of the prediction from one view and the target from the other, averaged over both ways and over
    pairs of views; in [0, 4].

    Deviations from the paper: both ways are averaged, not added; both views share their batch statistics; AdamW in
    place of LARS, which learned faster in short runs than SGD did, its rate stated for a batch of 512; the target's
    momentum starts at 0.99, not 0.996, to suit short runs.
    """

    high_score = "one view does not predict another"

    def __init__(
        self,
        encoder: Encoder,
        recipe: str,
        seed: int,
        *,
        momentum: Annotated[float, Field(ge=0, le=1)] = 0.99,
        hidden: Units = 512,
        out: Units = 128,
        lr: PositiveFactor = 4e-3,
        weight_decay: Factor = 1e-4,
    ) -> None:
        super().__init__(encoder, recipe)
        self.projector = projector(encoder.features, hidden, out, seed)
        self.predictor = mlp(out, hidden, out, seed=seed, label="predictor")
        self.teacher = Teacher(encoder, self.projector)
        self.momentum = momentum
        self.lr = lr
        self.weight_decay = weight_decay

    def forward(self, views: Tensor) -> tuple[Tensor, Tensor]:
        """Predictions (2b, out), and targets (2b, out) without gradient."""
        return self.predictor(self.projector(self.encoder(views))), self.teacher(views)

    def losses(self, inputs: tuple[Tensor, ...], outputs: Any, ids: Tensor, reference: Any = None) -> Tensor:
        """Squared distance of unit prediction and unit target, averaged over both ways: (b,) float64."""
        return 2 - 2 * crossed_cosine(*outputs)

    def after_step(self, outputs: Any, progress: float) -> None:
        """The target network follows, ever more slowly."""
        self.teacher.follow(self.encoder, self.projector, momentum=momentum_at(progress, self.momentum))

    def optimizer(self, batch: int) -> torch.optim.Optimizer:
        """AdamW, its rate scaled linearly from a batch of 512."""
        return scaled_adamw(self, lr=self.lr, weight_decay=self.weight_decay, batch=batch)
