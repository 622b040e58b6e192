"""What a pretext task is: inputs made from images, one forward pass, one loss per image."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from initpools_cli.augment.draws import Draws
from initpools_cli.augment.pipelines import to_float
from initpools_cli.networks.build import Encoder

#: Adam's epsilon. With its usual 1e-8, gradients that are nothing but rounding moved weights by whole steps, and two
#: processes did not train what one does.
NOISE = 1e-6


def cosine(progress: float, floor: float = 1e-3) -> float:
    """Half a cosine from 1 down to `floor`, over `progress` from 0 to 1."""
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))


class Pretext(nn.Module):
    """A self-supervised task around an encoder.

    Training minimizes the mean of `losses`; scoring averages the same `losses` over views. The network runs inside
    `forward`, which may be under autocast; `losses` is called outside it and works in float64, because NT-Xent
    in bfloat16 collapses to a couple of values.

    Parameters
    ----------
    encoder : Encoder
        Maps float images (b, c, h, w) to features (b, encoder.features).
    recipe : str
        Name of the augmentation recipe.
    """

    #: The network and the augmentation used where the configuration says "auto".
    network: ClassVar[str] = "convnet"
    recipe_default: ClassVar[str] = "simclr"
    #: The networks it runs on; empty: all that are not for certain tasks alone.
    networks: ClassVar[tuple[str, ...]] = ()
    #: The epochs and the batch used where the configuration says 0.
    epochs_default: ClassVar[int] = 100
    batch_default: ClassVar[int] = 128
    #: What a high score means; empty where the task has no score per image.
    high_score: ClassVar[str] = ""
    #: The public name of its score; empty: the task's own.
    score_name: ClassVar[str] = ""
    #: Whether its loss means the same from the first epoch to the last, and so should fall.
    one_loss: ClassVar[bool] = True
    #: Whether it sorts images into clusters (`assign`).
    clusters_images: ClassVar[bool] = False

    def __init__(self, encoder: Encoder, recipe: str) -> None:
        super().__init__()
        self.encoder = encoder
        self.recipe = recipe

    def begins(self, epochs: int) -> None:
        """Called before training, which will take that many epochs, for tasks that have phases."""

    def rows(self, draws: Draws) -> Tensor:
        """Which images `inputs` is shown for a batch, (m,) int64: those of the batch, unless the task adds others."""
        return draws.ids

    def inputs(self, images: Tensor, draws: Draws) -> tuple[Tensor, ...]:
        """What `forward` takes, from uint8 images (m, h, w, c), those of `rows`, and the batch's random draws."""
        raise NotImplementedError

    def losses(self, inputs: tuple[Tensor, ...], outputs: Any, ids: Tensor, reference: Any = None) -> Tensor:
        """The loss of each image, (b,) float64, in nats unless the task says otherwise.

        Parameters
        ----------
        inputs : tuple of Tensor
            What `inputs` made.
        outputs : Any
            What `forward` made of them.
        ids : Tensor
            (b,) int64, the images' indices.
        reference : Any
            What `reference` returned; None in training, where a batch is its own reference.
        """
        raise NotImplementedError

    def loss(self, inputs: tuple[Tensor, ...], outputs: Any, ids: Tensor) -> Tensor:
        """What training minimizes: the mean of `losses`, for tasks whose loss is per image."""
        return self.losses(inputs, outputs, ids).mean()

    def confidence(self, outputs: Any, ids: Tensor) -> Tensor | None:
        """How surely each image of a training batch is told from the others, (b,) in [0, 1].

        Its mean and deviation over the epochs are the training dynamics of an image. None for tasks without such a
        probability.
        """
        return None

    def after_step(self, outputs: Any, progress: float) -> None:
        """Called after every optimizer step, for state that no gradient moves (teachers, queues).

        That state lives in buffers or parameters without gradient, so that checkpoints hold it.

        Parameters
        ----------
        outputs : Any
            What `forward` made of the step's batch.
        progress : float
            Share of training done, in (0, 1].
        """

    def outcome(self) -> dict[str, float]:
        """What there is to say of the training when it has ended, for ``step.toml``."""
        return {}

    def caution(self) -> str:
        """What the user must know of the training when it has ended; empty where there is nothing."""
        return ""

    def rate(self, progress: float) -> float:
        """The factor of the optimizer's rate when that share of training, in [0, 1), is done."""
        return cosine(progress)

    def reference(self, images: Tensor, draws: Draws) -> Any:
        """What every image is scored against, from a fixed batch; None for tasks that look at one image alone."""
        return None

    def optimizer(self, batch: int) -> torch.optim.Optimizer:
        """The optimizer for that batch size."""
        raise NotImplementedError

    def features(self, images: Tensor) -> Tensor:
        """Backbone features (b, d) float32 of unaugmented uint8 images (b, h, w, c)."""
        return self.encoder(to_float(images))

    def assign(self, images: Tensor) -> Tensor:
        """The probability of each cluster (b, k) for unaugmented uint8 images; only of tasks that have clusters."""
        raise NotImplementedError

    def projections(self, images: Tensor) -> Tensor:
        """What the projector makes of `features`; the features themselves for a task without one."""
        return self.features(images)
