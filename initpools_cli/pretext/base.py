"""Base class of pretext tasks: inputs from images, a forward pass, a loss per image."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from initpools_cli.augment.draws import Draws
from initpools_cli.augment.pipelines import to_float
from initpools_cli.networks.build import Encoder

#: Adam's epsilon. With the usual 1e-8, gradients of rounding errors caused full steps, and training with two processes
#: differed from training with one.
NOISE = 1e-6


def cosine(progress: float, floor: float = 1e-3) -> float:
    """Return a half cosine from 1 to `floor`, for `progress` from 0 to 1."""
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))


class Pretext(nn.Module):
    """Base class of self-supervised tasks with an encoder.

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

    #: The network and the augmentation for the setting "auto".
    network: ClassVar[str] = "convnet"
    recipe_default: ClassVar[str] = "simclr"
    #: The supported networks; empty: all general ones.
    networks: ClassVar[tuple[str, ...]] = ()
    #: The epochs and the batch size for the setting 0.
    epochs_default: ClassVar[int] = 100
    batch_default: ClassVar[int] = 128
    #: The meaning of a high score; empty if the task has no score per image.
    high_score: ClassVar[str] = ""
    #: The public name of its score; empty: the task's name.
    score_name: ClassVar[str] = ""
    #: Whether losses are comparable over all epochs, and so should decrease.
    one_loss: ClassVar[bool] = True
    #: Whether it assigns images to clusters (`assign`).
    clusters_images: ClassVar[bool] = False

    def __init__(self, encoder: Encoder, recipe: str) -> None:
        super().__init__()
        self.encoder = encoder
        self.recipe = recipe

    def begins(self, epochs: int) -> None:
        """Prepare for a training of that many epochs, for tasks with phases."""

    def rows(self, draws: Draws) -> Tensor:
        """Return the images that `inputs` needs, (m,) int64: those of the batch, unless the task adds others."""
        return draws.ids

    def inputs(self, images: Tensor, draws: Draws) -> tuple[Tensor, ...]:
        """Compute the inputs of `forward` from uint8 images (m, h, w, c) of `rows` and the batch's random numbers."""
        raise NotImplementedError

    def losses(self, inputs: tuple[Tensor, ...], outputs: Any, ids: Tensor, reference: Any = None) -> Tensor:
        """Return the loss of each image, (b,) float64, in nats unless the task states another unit.

        Parameters
        ----------
        inputs : tuple of Tensor
            The result of `inputs`.
        outputs : Any
            The result of `forward`.
        ids : Tensor
            (b,) int64, the images' indices.
        reference : Any
            The result of `reference`; None in training, where the batch is the reference.
        """
        raise NotImplementedError

    def loss(self, inputs: tuple[Tensor, ...], outputs: Any, ids: Tensor) -> Tensor:
        """Return the training loss: by default the mean of `losses`."""
        return self.losses(inputs, outputs, ids).mean()

    def confidence(self, outputs: Any, ids: Tensor) -> Tensor | None:
        """Return the probability that each image of a batch is distinguished from the others, (b,) in [0, 1].

        Its mean and standard deviation over epochs are the training dynamics of an image. None if the task has no such
        probability.
        """
        return None

    def after_step(self, outputs: Any, progress: float) -> None:
        """Update state without gradients (teachers, queues) after an optimizer step.

        Such state is in buffers or parameters without gradient, so that it is part of checkpoints.

        Parameters
        ----------
        outputs : Any
            The result of `forward` for the batch of the step.
        progress : float
            Completed share of training, in (0, 1].
        """

    def outcome(self) -> dict[str, float]:
        """Return results of the training for ``step.toml``."""
        return {}

    def warning_after_training(self) -> str:
        """Return a warning about the finished training; empty if there is none."""
        return ""

    def rate(self, progress: float) -> float:
        """Return the factor of the learning rate at a share of training in [0, 1)."""
        return cosine(progress)

    def reference(self, images: Tensor, draws: Draws) -> Any:
        """Return the reference of scores from a fixed batch; None if the task needs none."""
        return None

    def optimizer(self, batch: int) -> torch.optim.Optimizer:
        """Return the optimizer for a batch size."""
        raise NotImplementedError

    def features(self, images: Tensor) -> Tensor:
        """Return backbone features (b, d) float32 of unaugmented uint8 images (b, h, w, c)."""
        return self.encoder(to_float(images))

    def assign(self, images: Tensor) -> Tensor:
        """Return the cluster probabilities (b, k) of unaugmented uint8 images, for tasks with clusters."""
        raise NotImplementedError

    def projections(self, images: Tensor) -> Tensor:
        """Return the projector's outputs for images; without a projector, the features."""
        return self.features(images)
