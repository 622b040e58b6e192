"""SimCLR: contrastive learning on two views of each image (Chen et al. 2020)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from initpools_cli.augment.draws import Draws
from initpools_cli.core.bounds import Factor, PositiveFactor, Units
from initpools_cli.networks.build import Encoder, projector
from initpools_cli.pretext.all_gather import gather
from initpools_cli.pretext.registry import pretexts
from initpools_cli.pretext.two_views import PairTask, scaled_sgd


def nt_xent(anchors: Tensor, positives: Tensor, bank: Tensor, same: Tensor, temperature: float) -> Tensor:
    """Return the normalized-temperature cross-entropy of each anchor, in nats.

    ``-log( exp(a.p / T) / (exp(a.p / T) + sum over other images' bank rows of exp(a.b / T)) )``

    Parameters
    ----------
    anchors, positives : Tensor
        (b, d), unit rows. The work is done in their precision: losses are taken of float64.
    bank : Tensor
        (m, d), unit rows: the views that may be negatives.
    same : Tensor
        (b, m) bool, True where a bank row shows the anchor's own image and so is no negative.
    temperature : float
        T > 0.

    Returns
    -------
    Tensor
        (b,). Identically 0 where every bank row is masked: a batch of one image has no negatives, which is
        why a pair alone can't be scored.
    """
    positive = (anchors * positives).sum(1, keepdim=True) / temperature
    negative = (anchors @ bank.T / temperature).masked_fill(same, -torch.inf)
    return torch.logsumexp(torch.cat([positive, negative], 1), 1) - positive[:, 0]


#: At which training dynamics are read, whatever temperature the task trains at (Chen et al. 2022, arXiv:2210.02442).
DYNAMICS_TEMPERATURE = 0.05


def _both_ways(views: Tensor, ids: Tensor, temperature: float, reference: Any = None) -> Tensor:
    """NT-Xent of every view, (2b,), against the batch's views of all processes unless there is a reference."""
    first, second = views.chunk(2)
    bank, owners = reference or (torch.cat([gather(first), gather(second)]), gather(ids).repeat(2))
    same = (ids[:, None] == owners).repeat(2, 1)
    return nt_xent(views, torch.cat([second, first]), bank.to(views.dtype), same, temperature)


@pretexts.register("simclr", paper="Chen et al. 2020, arXiv:2002.05709")
class SimCLR(PairTask):
    """Distinguish the two random views of an image from the views of other images.

    Score: NT-Xent of an image's two views against the views of a fixed, seeded batch of other images (nats),
    averaged over pairs of views.

    Deviations from the paper: SGD with momentum and cosine decay in place of LARS (batches here are small); the order
    of color operations is fixed; the learning rate is stated for a batch of 512 and scaled linearly. Its default suits
    runs of tens of epochs; the reference's 0.4 goes with its 500.
    """

    high_score = "its views are easily mistaken for other images"

    def __init__(
        self,
        encoder: Encoder,
        recipe: str,
        seed: int,
        *,
        temperature: PositiveFactor = 0.1,
        hidden: Units = 512,
        out: Units = 128,
        lr: PositiveFactor = 0.1,
        weight_decay: Factor = 1e-4,
    ) -> None:
        super().__init__(encoder, recipe)
        self.projector = projector(encoder.features, hidden, out, seed)
        self.temperature = temperature
        self.lr = lr
        self.weight_decay = weight_decay

    def forward(self, views: Tensor) -> Tensor:
        """Projections (2b, out)."""
        return self.projector(self.encoder(views))

    def losses(self, inputs: tuple[Tensor, ...], outputs: Tensor, ids: Tensor, reference: Any = None) -> Tensor:
        """NT-Xent of both views as anchors, averaged: (b,) float64, nats."""
        views = F.normalize(outputs.float(), dim=1).double()
        return _both_ways(views, ids, self.temperature, reference).view(2, -1).mean(0)

    @torch.no_grad()
    def confidence(self, outputs: Tensor, ids: Tensor) -> Tensor:
        """The probability of each view's other view among the batch's views, averaged over both: (b,) float32."""
        views = F.normalize(outputs.float(), dim=1)
        return _both_ways(views, ids, DYNAMICS_TEMPERATURE).neg().exp().view(2, -1).mean(0)

    def reference(self, images: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """Both views of the fixed batch, (2m, out) unit rows, and whose they are."""
        (views,) = self.inputs(images, draws)
        return F.normalize(self(views).float(), dim=1), draws.ids.repeat(2)

    def optimizer(self, batch: int) -> torch.optim.Optimizer:
        """SGD with momentum 0.9, its rate scaled linearly from a batch of 512."""
        return scaled_sgd(self, lr=self.lr, weight_decay=self.weight_decay, batch=batch)
