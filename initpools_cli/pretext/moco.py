"""MoCo v2: contrastive learning with a momentum encoder and a queue of negatives (Chen et al. 2020)."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from initpools_cli.augment.draws import Draws
from initpools_cli.core.bounds import Factor, PositiveFactor, Units
from initpools_cli.networks.build import Encoder, projector, seeded
from initpools_cli.pretext.all_gather import gather
from initpools_cli.pretext.ema import Teacher
from initpools_cli.pretext.registry import pretexts
from initpools_cli.pretext.simclr import DYNAMICS_TEMPERATURE, nt_xent
from initpools_cli.pretext.two_views import PairTask, both_views, refuse_lone_image, scaled_sgd

#: The owner of what fills the queue before training: no image.
NOBODY = -1


@pretexts.register("moco", paper="He et al. 2020, arXiv:1911.05722; v2: Chen et al. 2020, arXiv:2003.04297")
class MoCo(PairTask):
    """Distinguish the views of an image from a queue of other images' views.

    Score: InfoNCE of an image's two views, the second seen by the momentum encoder, against the momentum encoder's
    views of a fixed, seeded batch of other images (nats), averaged over pairs of views. Training takes the queue as
    that batch.

    Deviations from the papers: batches are not shuffled between devices before keys are made, so that query and key are
    normalized with the statistics of the same images; keys of the query's own image, which small data sets bring back
    while they are still in the queue, are no negatives; the head has a batch norm; the queue, the momentum, the
    temperature and the rate suit small data sets and short runs (65,536, 0.999, 0.2 and 0.06 in the paper, its rate
    restated for a batch of 512).
    """

    high_score = "its views are easily mistaken for other images"
    # The queue starts with random vectors, which are easy to distinguish, so the loss begins low.
    one_loss = False
    queue: Tensor
    owners: Tensor
    pointer: Tensor

    def __init__(
        self,
        encoder: Encoder,
        recipe: str,
        seed: int,
        *,
        temperature: PositiveFactor = 0.1,
        momentum: Annotated[float, Field(ge=0, le=1)] = 0.97,
        queue: Annotated[int, Field(ge=1, le=1 << 20)] = 1024,
        hidden: Units = 512,
        out: Units = 128,
        lr: PositiveFactor = 0.1,
        weight_decay: Factor = 1e-4,
    ) -> None:
        super().__init__(encoder, recipe)
        self.projector = projector(encoder.features, hidden, out, seed)
        self.teacher = Teacher(encoder, self.projector)
        with seeded(seed, "moco queue"):
            self.register_buffer("queue", F.normalize(torch.randn(queue, out), dim=1))
        self.register_buffer("owners", torch.full((queue,), NOBODY))
        self.register_buffer("pointer", torch.tensor(0))
        self.temperature = temperature
        self.momentum = momentum
        self.lr = lr
        self.weight_decay = weight_decay

    def inputs(self, images: Tensor, draws: Draws) -> tuple[Tensor, ...]:
        """Both views, stacked, and whose they are: ((2b, c, h, w), (b,))."""
        return both_views(images, draws, self.recipe), draws.ids

    def forward(self, views: Tensor, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (b, out), keys (b, out) without gradient, and the images' ids (b,), which the queue keeps."""
        if self.training:
            refuse_lone_image(len(ids))
        first, second = views.chunk(2)
        return self.projector(self.encoder(first)), self.teacher(second), ids

    def losses(self, inputs: tuple[Tensor, ...], outputs: Any, ids: Tensor, reference: Any = None) -> Tensor:
        """InfoNCE of each image's query and key: (b,) float64, nats."""
        queries, keys = (F.normalize(part.float(), dim=1).double() for part in outputs[:2])
        bank, owners = (keys, ids) if reference is None else reference
        return nt_xent(queries, keys, bank.double(), ids[:, None] == owners[None, :], self.temperature)

    def loss(self, inputs: tuple[Tensor, ...], outputs: Any, ids: Tensor) -> Tensor:
        """The mean of `losses` against the queue."""
        return self.losses(inputs, outputs, ids, (self.queue, self.owners)).mean()

    @torch.no_grad()
    def confidence(self, outputs: Any, ids: Tensor) -> Tensor:
        """The probability of each query's key among the batch's keys: (b,) float32."""
        queries, keys = (F.normalize(part.float(), dim=1) for part in outputs[:2])
        bank, owners = gather(keys), gather(ids)
        same = ids[:, None] == owners[None, :]
        return torch.exp(-nt_xent(queries, keys, bank, same, DYNAMICS_TEMPERATURE))

    @torch.no_grad()
    def after_step(self, outputs: Any, progress: float) -> None:
        """The momentum encoder follows, and the batch's keys take the place of the oldest."""
        self.teacher.follow(self.encoder, self.projector, momentum=self.momentum)
        _, keys, ids = outputs
        length = len(self.queue)
        keys, ids = gather(F.normalize(keys.float(), dim=1)), gather(ids)
        # By image, so that the queue is the same however many processes share the batch.
        newest = ids.argsort()[-length:]
        keys, ids = keys[newest], ids[newest]
        places = (self.pointer + torch.arange(len(ids), device=ids.device)) % length
        self.queue[places] = keys
        self.owners[places] = ids
        self.pointer.add_(len(ids)).remainder_(length)

    def reference(self, images: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """Keys (m, out) of the fixed batch, unit rows, and whose they are."""
        return F.normalize(self.teacher(both_views(images, draws, self.recipe).chunk(2)[1]).float(), dim=1), draws.ids

    def optimizer(self, batch: int) -> torch.optim.Optimizer:
        """SGD with momentum, its rate scaled linearly from a batch of 512."""
        return scaled_sgd(self, lr=self.lr, weight_decay=self.weight_decay, batch=batch)
