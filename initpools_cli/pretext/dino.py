"""DINO: a student finds the prototypes that its own moving average finds in another view (Caron et al. 2021)."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from initpools_cli.augment.draws import Draws
from initpools_cli.augment.pipelines import augment, to_float
from initpools_cli.core.bounds import Factor, OptionalPasses, PositiveFactor, Units
from initpools_cli.core.errors import UserError
from initpools_cli.networks.build import SMALLEST_IMAGE, Encoder, seeded
from initpools_cli.pretext.all_gather import gather
from initpools_cli.pretext.base import Pretext
from initpools_cli.pretext.ema import Teacher, momentum_at
from initpools_cli.pretext.registry import pretexts
from initpools_cli.pretext.two_views import mlp, refuse_lone_image, scaled_adamw


def window(view: Tensor, draws: Draws) -> Tensor:
    """A window of half the height and width at a random place: (b, c, h, w) to (b, c, h // 2, w // 2)."""
    across, (height, width) = view.shape[:2], (side // 2 for side in view.shape[2:])
    top = draws.integers("window top", view.shape[2] - height + 1)
    left = draws.integers("window left", view.shape[3] - width + 1)
    image, channel = (torch.arange(count, device=view.device) for count in across)
    row = top[:, None] + torch.arange(height, device=view.device)
    column = left[:, None] + torch.arange(width, device=view.device)
    return view[image[:, None, None, None], channel[:, None, None], row[:, None, :, None], column[:, None, None, :]]


class Prototypes(nn.Module):
    """Cosines with learned unit vectors: a layer without bias whose weight norm is held at 1.

    Parameters
    ----------
    width, count : int
        Width of its input, and number of vectors.
    """

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.directions = nn.Parameter(torch.randn(count, width))

    def forward(self, embeddings: Tensor) -> Tensor:
        """(b, width) to (b, count), in [-1, 1]."""
        return F.linear(F.normalize(embeddings, dim=1), F.normalize(self.directions, dim=1))


@pretexts.register("dino", paper="Caron et al. 2021, arXiv:2104.14294")
class DINO(Pretext):
    """Train a student to predict its teacher's assignment of another view to prototypes.

    Score: cross-entropy (nats) of the student's assignment of one view against the teacher's centred and sharpened
    assignment of another, averaged over pairs of different views.

    Deviations from the paper: the exported features are the student's; the head has batch norms, the last on what the
    prototypes are compared with; the last layer is not frozen in the first epoch, gradients are not clipped, weight
    decay is constant; fewer prototypes (65,536 in the paper), a momentum from 0.99, not 0.996, and a higher rate (1e-3
    for a batch of 512), for small data sets and short runs; a local view is a window of half the side cut from a view,
    so it covers a quarter of what that shows.
    """

    recipe_default = "simclr"
    high_score = "student and teacher assign its views differently"
    centre: Tensor

    def __init__(
        self,
        encoder: Encoder,
        recipe: str,
        seed: int,
        *,
        local_views: OptionalPasses = 0,
        student_temperature: PositiveFactor = 0.1,
        teacher_temperature: PositiveFactor = 0.04,
        momentum: Annotated[float, Field(ge=0, le=1)] = 0.99,
        centre_momentum: Annotated[float, Field(ge=0, le=1)] = 0.9,
        hidden: Units = 512,
        bottleneck: Units = 128,
        prototypes: Annotated[int, Field(ge=2, le=1 << 20)] = 1024,
        lr: PositiveFactor = 4e-3,
        weight_decay: Factor = 0.04,
    ) -> None:
        super().__init__(encoder, recipe)
        layers = mlp(encoder.features, hidden, hidden, bottleneck, seed=seed, label="projector")
        # The batch norm would cancel a bias.
        layers[-1].register_parameter("bias", None)
        # Without the norm all embeddings get the same direction, and the student's assignments stay uniform.
        self.projector = nn.Sequential(*layers, nn.BatchNorm1d(bottleneck, affine=False))
        with seeded(seed, "prototypes"):
            self.prototypes = Prototypes(bottleneck, prototypes)
        self.teacher = Teacher(encoder, self.projector, self.prototypes)
        self.register_buffer("centre", torch.zeros(prototypes))
        self.local_views = local_views
        self.student_temperature = student_temperature
        self.teacher_temperature = teacher_temperature
        self.momentum = momentum
        self.centre_momentum = centre_momentum
        self.lr = lr
        self.weight_decay = weight_decay

    def inputs(self, images: Tensor, draws: Draws) -> tuple[Tensor, ...]:
        """Two views, stacked, and the local views, if any: ((2b, c, h, w), (local_views b, c, h // 2, w // 2))."""
        count = 2 + self.local_views
        each = [replace(draws, view=count * draws.view + k) for k in range(count)]
        views = [augment(images, view_draws, self.recipe) for view_draws in each]
        if not self.local_views:
            return (torch.cat(views),)
        side = min(images.shape[1:3]) // 2
        if side < SMALLEST_IMAGE:
            raise UserError(
                f"Local views have {side} x {side} pixels, but networks need at least {SMALLEST_IMAGE}.",
                f"Set local_views to 0, or dataset.size to {2 * SMALLEST_IMAGE} or more.",
                f"{side} x {side}",
            )
        small = [window(view, view_draws) for view, view_draws in zip(views[2:], each[2:], strict=True)]
        return torch.cat(views[:2]), torch.cat(small)

    def forward(self, views: Tensor, *small: Tensor) -> tuple[Tensor, Tensor]:
        """The student's logits of all views ((2 + local_views) b, prototypes), the teacher's of the first two."""
        if self.training:
            refuse_lone_image(len(views) // 2)
        student = torch.cat([self.prototypes(self.projector(self.encoder(size))) for size in (views, *small)])
        return student, self.teacher(views)

    def losses(self, inputs: tuple[Tensor, ...], outputs: Any, ids: Tensor, reference: Any = None) -> Tensor:
        """Cross-entropy averaged over pairs of different views: (b,) float64, nats."""
        student, teacher = (logits.double().view(-1, len(ids), logits.shape[1]) for logits in outputs)
        log_probs = F.log_softmax(student / self.student_temperature, dim=2)
        target = F.softmax((teacher - self.centre.double()) / self.teacher_temperature, dim=2)
        cross_entropy = -torch.einsum("tbk,sbk->tsb", target, log_probs)
        # A view is not compared with itself.
        other = ~torch.eye(*cross_entropy.shape[:2], dtype=torch.bool, device=cross_entropy.device)
        return cross_entropy[other].mean(0)

    @torch.no_grad()
    def after_step(self, outputs: Any, progress: float) -> None:
        """The teacher follows, ever more slowly, and the centre moves to the mean of its logits."""
        self.teacher.follow(
            self.encoder, self.projector, self.prototypes, momentum=momentum_at(progress, self.momentum)
        )
        self.centre.lerp_(gather(outputs[1].float()).mean(0), 1 - self.centre_momentum)

    def optimizer(self, batch: int) -> torch.optim.Optimizer:
        """AdamW, its rate scaled linearly from a batch of 512."""
        return scaled_adamw(self, lr=self.lr, weight_decay=self.weight_decay, batch=batch)

    def projections(self, images: Tensor) -> Tensor:
        """Projections of unaugmented images, (b, bottleneck) unit rows, which are compared with the prototypes."""
        return F.normalize(self.projector(self.encoder(to_float(images))), dim=1)
