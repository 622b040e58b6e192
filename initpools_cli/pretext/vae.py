"""A variational auto-encoder: images that it rebuilds badly are unusual (Kingma & Welling 2014)."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from initpools_cli.augment.draws import Draws
from initpools_cli.augment.pipelines import augment, to_float
from initpools_cli.networks.vae import VAE as Autoencoder
from initpools_cli.pretext.base import Pretext
from initpools_cli.pretext.registry import pretexts


@pretexts.register("vae", paper="Kingma & Welling 2014, arXiv:1312.6114")
class VAE(Pretext):
    """Images are squeezed through a Gaussian code of few dimensions and rebuilt.

    Score: mean squared error over pixels and channels + `kl_weight` times the Kullback-Leibler divergence of the code
    from a standard normal (summed over its dimensions, nats), averaged over draws of the code. Features are the
    code's mean.

    `kl_weight` defaults to the reference's 200/47,500; there it followed the batch and data set size, which makes the
    scores of two runs incomparable. Deviation: images stay in [0, 1] and the decoder ends in a sigmoid (the
    reference's tanh could not reach its normalised inputs, so its loss ranked by contrast).
    """

    encoder: Autoencoder
    network = "vae"
    recipe_default = "flip"
    high_score = "badly rebuilt, or far from the typical code"

    def __init__(
        self,
        encoder: Autoencoder,
        recipe: str,
        seed: int,
        *,
        kl_weight: Annotated[float, Field(ge=0)] = 200 / 47_500,
        lr: Annotated[float, Field(gt=0)] = 1e-3,
        weight_decay: Annotated[float, Field(ge=0)] = 5e-4,
    ) -> None:
        super().__init__(encoder, recipe)
        self.kl_weight = kl_weight
        self.lr = lr
        self.weight_decay = weight_decay

    def inputs(self, images: Tensor, draws: Draws) -> tuple[Tensor, ...]:
        """The images (b, c, h, w) and the noise of their codes (b, latent)."""
        return augment(images, draws, self.recipe), draws.normal("code", self.encoder.features)

    def forward(self, images: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What was rebuilt (b, c, h, w), and the code's mean and log-variance (b, latent)."""
        mean, log_variance = self.encoder.encode(images)
        code = mean + (0.5 * log_variance).exp() * noise
        return self.encoder.decode(code), mean, log_variance

    def losses(self, inputs: tuple[Tensor, ...], outputs: Any, ids: Tensor, reference: Any = None) -> Tensor:
        """Squared error and weighted divergence: (b,) float64."""
        rebuilt, mean, log_variance = (part.double() for part in outputs)
        error = (rebuilt - inputs[0].double()).square().flatten(1).mean(1)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
        return error + self.kl_weight * divergence

    def optimizer(self, batch: int) -> torch.optim.Optimizer:
        """Adam, as the reference, with its weight decay in the gradient."""
        return torch.optim.Adam(self.parameters(), lr=self.lr, weight_decay=self.weight_decay)

    def features(self, images: Tensor) -> Tensor:
        """The code's mean (b, latent)."""
        return self.encoder.encode(to_float(images))[0]
