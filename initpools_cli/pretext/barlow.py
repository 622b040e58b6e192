"""Barlow Twins: the cross-correlation of two views' embeddings should be the identity (Zbontar et al. 2021)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from initpools_cli.core.bounds import Factor, PositiveFactor, Units
from initpools_cli.networks.build import Encoder
from initpools_cli.pretext.all_gather import gather
from initpools_cli.pretext.registry import pretexts
from initpools_cli.pretext.two_views import PairTask, mlp, refuse_lone_image, scaled_adamw

#: Added to variances, as a batch norm does.
EPSILON = 1e-5


def redundancy(first: Tensor, second: Tensor, off_diagonal: float) -> Tensor:
    """Return the distance of the cross-correlation c of two views' embeddings from the identity, per dimension.

    ``( sum_i (1 - c_ii)^2 + off_diagonal * sum_(i != j) c_ij^2 ) / d``

    Parameters
    ----------
    first, second : Tensor
        (b, d), b >= 2.
    off_diagonal : float
        Weight of the redundancy between dimensions.

    Returns
    -------
    Tensor
        () float64; 1 if all embeddings of a view are equal.
    """
    first, second = (_standardized(view.double()) for view in (first, second))
    correlation = first.T @ second / len(first)
    diagonal = correlation.diagonal()
    others = correlation.square().sum() - diagonal.square().sum()
    return ((1 - diagonal).square().sum() + off_diagonal * others) / len(diagonal)


def _standardized(view: Tensor) -> Tensor:
    return (view - view.mean(0)) / (view.var(0, correction=0) + EPSILON).sqrt()


@pretexts.register("barlow", paper="Zbontar et al. 2021, arXiv:2103.03230")
class BarlowTwins(PairTask):
    """Train for equal dimensions of two views of an image, and no correlation between dimensions.

    There is no score: the loss is of correlations over a batch, without a term per image.

    Deviations from the paper: the loss is divided by the number of dimensions, so that the rate is independent of it;
    AdamW in place of LARS, its rate stated for a batch of 512; a narrower projector (8192 in the paper).
    """

    def __init__(
        self,
        encoder: Encoder,
        recipe: str,
        seed: int,
        *,
        off_diagonal: Factor = 5e-3,
        hidden: Units = 512,
        out: Units = 512,
        lr: PositiveFactor = 4e-3,
        weight_decay: Factor = 1e-4,
    ) -> None:
        super().__init__(encoder, recipe)
        self.projector = mlp(encoder.features, hidden, hidden, out, seed=seed, label="projector")
        self.off_diagonal = off_diagonal
        self.lr = lr
        self.weight_decay = weight_decay

    def forward(self, views: Tensor) -> Tensor:
        """Embeddings (2b, out)."""
        return self.projector(self.encoder(views))

    def loss(self, inputs: tuple[Tensor, ...], outputs: Any, ids: Tensor) -> Tensor:
        """`redundancy` over the batch of all processes: () float64."""
        first, second = (gather(view) for view in outputs.float().chunk(2))
        refuse_lone_image(len(first))
        return redundancy(first, second, self.off_diagonal)

    def optimizer(self, batch: int) -> torch.optim.Optimizer:
        """AdamW, its rate scaled linearly from a batch of 512."""
        return scaled_adamw(self, lr=self.lr, weight_decay=self.weight_decay, batch=batch)
