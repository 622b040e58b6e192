"""VICReg: invariance, variance and covariance of two views' embeddings (Bardes et al. 2022)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from initpools_cli.core.bounds import Factor, PositiveFactor, Units
from initpools_cli.networks.build import Encoder
from initpools_cli.pretext.all_gather import gather
from initpools_cli.pretext.registry import pretexts
from initpools_cli.pretext.two_views import PairTask, mlp, refuse_lone_image, scaled_sgd

#: Added to variances before the root.
EPSILON = 1e-4


def vicreg_terms(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return invariance, variance and covariance of two views' embeddings.

    Parameters
    ----------
    first, second : Tensor
        (b, d), b >= 2.

    Returns
    -------
    invariance : Tensor
        () float64: squared difference of the views, averaged over images and dimensions.
    variance : Tensor
        () float64: how much the deviation of a dimension falls short of 1, averaged over dimensions and views.
    covariance : Tensor
        () float64: squared covariances of different dimensions, over d, summed over the views.
    """
    views = first.double(), second.double()
    invariance = (views[0] - views[1]).square().mean()
    short = [(1 - (view.var(0) + EPSILON).sqrt()).relu().mean() for view in views]
    return invariance, (short[0] + short[1]) / 2, _covariance(views[0]) + _covariance(views[1])


def _covariance(view: Tensor) -> Tensor:
    centered = view - view.mean(0)
    covariance = centered.T @ centered / (len(view) - 1)
    return (covariance.square().sum() - covariance.diagonal().square().sum()) / len(covariance)


@pretexts.register("vicreg", paper="Bardes et al. 2022, arXiv:2105.04906")
class VICReg(PairTask):
    """Train for equal embeddings of two views, with variance in each dimension and no covariance between them.

    There is no score: two of the three terms of the loss are statistics of a batch, without a term per image.

    Deviations from the paper: as in the authors' code, the invariance is averaged over dimensions and the variance
    over views; SGD with momentum in place of LARS, its rate stated for a batch of 512; a narrower expander (8192 in
    the paper).
    """

    def __init__(
        self,
        encoder: Encoder,
        recipe: str,
        seed: int,
        *,
        invariance: Factor = 25.0,
        variance: Factor = 25.0,
        covariance: Factor = 1.0,
        hidden: Units = 512,
        out: Units = 512,
        lr: PositiveFactor = 0.1,
        weight_decay: Factor = 1e-4,
    ) -> None:
        super().__init__(encoder, recipe)
        self.projector = mlp(encoder.features, hidden, hidden, out, seed=seed, label="projector")
        self.weights = (invariance, variance, covariance)
        self.lr = lr
        self.weight_decay = weight_decay

    def forward(self, views: Tensor) -> Tensor:
        """Embeddings (2b, out)."""
        return self.projector(self.encoder(views))

    def loss(self, inputs: tuple[Tensor, ...], outputs: Any, ids: Tensor) -> Tensor:
        """The weighted sum of `vicreg_terms` over the batch of all processes: () float64."""
        first, second = (gather(view) for view in outputs.float().chunk(2))
        refuse_lone_image(len(first))
        terms = vicreg_terms(first, second)
        return torch.stack([weight * term for weight, term in zip(self.weights, terms, strict=True)]).sum()

    def optimizer(self, batch: int) -> torch.optim.Optimizer:
        """SGD with momentum, its rate scaled linearly from a batch of 512."""
        return scaled_sgd(self, lr=self.lr, weight_decay=self.weight_decay, batch=batch)
