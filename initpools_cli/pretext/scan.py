"""SCAN: an image and its nearest neighbors belong to one cluster (Van Gansbeke et al. 2020)."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from initpools_cli.augment.draws import Draws
from initpools_cli.augment.pipelines import augment, recipe_named, to_float
from initpools_cli.core.bounds import Count, Factor, Passes, PositiveCount, PositiveFactor
from initpools_cli.core.config import DEFAULT_CLUSTERS
from initpools_cli.networks.build import Encoder, seeded
from initpools_cli.pretext.all_gather import gather
from initpools_cli.pretext.base import NOISE, Pretext, cosine
from initpools_cli.pretext.registry import pretexts

#: The share of the first phase, at its end, over which heads are compared.
COMPARED = 0.25


def disagreement(first: Tensor, second: Tensor) -> Tensor:
    """The negative logarithm of the probability that two images are put into the same cluster, in nats.

    Parameters
    ----------
    first, second : Tensor
        (..., k), logarithms of probabilities.

    Returns
    -------
    Tensor
        (...,) float64, ≥ 0: 0 where both are sure of the same cluster, finite where they are sure of different ones.
    """
    return -torch.logsumexp(first.double() + second.double(), dim=-1)


def spread(log_probs: Tensor) -> Tensor:
    """The entropy of the mean distribution of a batch, in nats.

    Parameters
    ----------
    log_probs : Tensor
        (b, ..., k), logarithms of probabilities.

    Returns
    -------
    Tensor
        (...,) float64, in [0, log k]; log k where the clusters are equally large.
    """
    mean = torch.logsumexp(log_probs.double(), dim=0) - math.log(len(log_probs))
    return -(mean.exp() * mean).sum(-1)


def self_labeling(weak: Tensor, strong: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Cross-entropy of strong views against the clusters that weak views are sure of, clusters weighing equally.

    The mean over the clusters with a sure image of the mean over those images, which is the cross-entropy weighted by
    the inverse of the cluster's frequency. Over several processes, frequencies are those of the whole batch, and the
    mean of what the processes return is its loss.

    Parameters
    ----------
    weak, strong : Tensor
        (b, k) logits of two views of the same images; no gradient flows to the weak ones.
    threshold : float
        What the largest probability must exceed.

    Returns
    -------
    loss : Tensor
        () float64, nats; 0, with gradient 0, where no image is sure.
    sure : Tensor
        (images of the whole batch,) bool.
    """
    largest, cluster = F.softmax(weak.detach().double(), dim=1).max(1)
    sure = largest > threshold
    clusters = gather(torch.where(sure, cluster, -1))
    sizes = torch.bincount(clusters[clusters >= 0], minlength=weak.shape[1])
    weight = sure.double() / (sizes[cluster].clamp(min=1) * (sizes > 0).sum().clamp(min=1))
    processes = len(clusters) / len(cluster)
    return processes * (weight * F.cross_entropy(strong.double(), cluster, reduction="none")).sum(), clusters >= 0


@pretexts.register("scan", paper="Van Gansbeke et al. 2020, arXiv:2005.12320")
class SCAN(Pretext):
    """Train a pretrained encoder to assign images and their nearest neighbors to the same cluster.

    First, every image and one of its neighbors, drawn anew each time, shall fall into the same cluster, and the
    clusters be equally large; several heads try it, and the one with the lowest loss over the last quarter of that
    phase is kept. Then images label themselves: where a weakly augmented view is sure of its cluster, a strongly
    augmented one shall agree. The second phase takes the share `selflabel` of the epochs.

    Score: the negative logarithm of the probability that an image and one of its neighbors are put into the same
    cluster (nats), averaged over views and, with them, neighbors.

    Deviations from the paper: heads are compared on training batches, not on a validation set; weight decay is apart
    from the gradient (AdamW), so that a batch with no sure image does not shrink the weights; the first rate is a
    hundred times the paper's, for runs of tens of epochs, and each phase's decays by a cosine; weak and strong views
    share one forward pass and its batch norm; the weak recipe only shifts, so that digits are not mirrored.
    """

    recipe_default = "shift"
    high_score = "its nearest neighbors are in other clusters"
    score_name = "scan-loss"
    clusters_images = True
    one_loss = False
    epochs_default = 50
    batch_default = 256
    head_losses: Tensor
    seen: Tensor

    def __init__(
        self,
        encoder: Encoder,
        recipe: str,
        seed: int,
        nearest: NDArray[np.int64],
        *,
        clusters: Count = 0,
        neighbors: PositiveCount = 20,
        heads: Passes = 5,
        entropy_weight: Factor = 5.0,
        selflabel: Annotated[float, Field(ge=0, lt=1)] = 0.3,
        threshold: Annotated[float, Field(ge=0, lt=1)] = 0.99,
        strong: str = "randaug",
        lr: PositiveFactor = 1e-2,
        selflabel_lr: PositiveFactor = 1e-4,
        weight_decay: Factor = 1e-4,
    ) -> None:
        super().__init__(encoder, recipe)
        # Validate the name now, not after the first phase.
        recipe_named(strong)
        self.clusters = clusters or DEFAULT_CLUSTERS
        self.count = heads
        with seeded(seed, "cluster heads"):
            # In one layer, so that every weight takes part in every step, as training over several processes needs.
            self.heads = nn.Linear(encoder.features, heads * self.clusters)
        # No buffer: it is read on the processor, and would be sent to all processes at every step.
        self.nearest = torch.as_tensor(np.ascontiguousarray(nearest[:, :neighbors]))
        self.register_buffer("head_losses", torch.zeros(heads, dtype=torch.float64))
        self.register_buffer("seen", torch.zeros(2, dtype=torch.int64))
        self.entropy_weight = entropy_weight
        self.selflabel = selflabel
        self.first_phase = math.inf
        self.threshold = threshold
        self.strong = strong
        self.lr = lr
        self.selflabel_lr = selflabel_lr
        self.weight_decay = weight_decay

    @property
    def best(self) -> int:
        """The head that is kept."""
        return int(self.head_losses.argmin())

    def begins(self, epochs: int) -> None:
        """The first phase has whole epochs, and at least one."""
        self.epochs, self.first_phase = epochs, max(1, round((1 - self.selflabel) * epochs))

    def rows(self, draws: Draws) -> Tensor:
        """The images of the batch, and after them a neighbor of each; in the second phase the images alone."""
        if draws.epoch > self.first_phase:
            return draws.ids
        which = draws.integers("neighbor", self.nearest.shape[1]).cpu()
        return torch.cat([draws.ids, self.nearest[draws.ids.cpu(), which].to(draws.ids.device)])

    def inputs(self, images: Tensor, draws: Draws) -> tuple[Tensor, ...]:
        """Images and neighbors, stacked: ((2b, c, h, w),); in the second phase weak and strong views, (b, …) each."""
        first, second = (replace(draws, view=2 * draws.view + k) for k in (0, 1))
        if draws.epoch > self.first_phase:
            return augment(images, first, self.recipe), augment(images, second, self.strong)
        anchors, neighbors = images.chunk(2)
        return (torch.cat([augment(anchors, first, self.recipe), augment(neighbors, second, self.recipe)]),)

    def forward(self, *views: Tensor) -> Tensor:
        """The logits of every head, (2b, heads, clusters)."""
        return self.heads(self.encoder(torch.cat(views))).unflatten(1, (self.count, self.clusters))

    def losses(self, inputs: tuple[Tensor, ...], outputs: Tensor, ids: Tensor, reference: Any = None) -> Tensor:
        """Disagreement of image and neighbor in the best head: (b,) float64, nats."""
        anchors, neighbors = F.log_softmax(outputs[:, self.best].double(), dim=1).chunk(2)
        return disagreement(anchors, neighbors)

    def loss(self, inputs: tuple[Tensor, ...], outputs: Tensor, ids: Tensor) -> Tensor:
        """Disagreement less weighted spread, averaged over heads; in the second phase the kept one's self-labeling."""
        return self._self_labeling(outputs)[0] if len(inputs) == 2 else self._head_losses(outputs).mean()

    def _self_labeling(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        weak, strong = outputs[:, self.best].chunk(2)
        return self_labeling(weak, strong, self.threshold)

    def _head_losses(self, outputs: Tensor) -> Tensor:
        """(heads,) float64."""
        anchors, neighbors = F.log_softmax(outputs.double(), dim=2).chunk(2)
        return disagreement(anchors, neighbors).mean(0) - self.entropy_weight * spread(gather(anchors))

    @torch.no_grad()
    def after_step(self, outputs: Tensor, progress: float) -> None:
        """Compare the heads at the end of the first phase, and forget its momentum; count sure images in the second."""
        epochs = progress * self.epochs
        # The last step of an epoch ends on a whole number, up to rounding.
        if epochs > self.first_phase + 1e-6:
            _, sure = self._self_labeling(outputs)
            self.seen += torch.stack([sure.sum(), torch.ones_like(sure).sum()])
        elif epochs > (1 - COMPARED) * self.first_phase:
            self.head_losses += gather(self._head_losses(outputs)[None]).mean(0)
            if epochs > self.first_phase - 1e-6:
                # Steps scaled by the first loss's small gradients at its end would be much too large for the second.
                self.stepper.state.clear()

    def rate(self, progress: float) -> float:
        """A cosine for each phase, the second from the rate `selflabel_lr`.

        At the first phase's rate, clusters with few confident images disappeared, since the second loss does not keep
        clusters equally large.
        """
        epochs = progress * self.epochs
        # The first step of an epoch begins on a whole number, up to rounding.
        if epochs < self.first_phase - 1e-6:
            return cosine(epochs / self.first_phase)
        return self.selflabel_lr / self.lr * cosine((epochs - self.first_phase) / (self.epochs - self.first_phase))

    def optimizer(self, batch: int) -> torch.optim.Optimizer:
        """AdamW at a base rate that does not depend on the batch size."""
        self.stepper = torch.optim.AdamW(self.parameters(), lr=self.lr, weight_decay=self.weight_decay, eps=NOISE)
        return self.stepper

    def assign(self, images: Tensor) -> Tensor:
        """The best head's probabilities (b, clusters) float64 of unaugmented uint8 images."""
        return F.softmax(self(to_float(images))[:, self.best].double(), dim=1)

    def outcome(self) -> dict[str, float]:
        """Return the best head and, after the second phase, the share of images above the threshold."""
        sure, total = self.seen.tolist()
        return {"head": self.best} | ({"sure": sure / total} if total else {})

    def warning_after_training(self) -> str:
        """Return the warning that no image was sure enough to label itself."""
        sure, total = self.seen.tolist()
        if not total or sure:
            return ""
        return (
            f"no cluster probability exceeded the threshold {self.threshold}, so self-labeling had no effect: train "
            "for more epochs, or lower the threshold (--set threshold=0.9)."
        )
