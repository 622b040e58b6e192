"""Variational autoencoder, whose score is high for unusual images (Kingma & Welling 2014)."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from initpools_cli.augment.draws import Draws
from initpools_cli.augment.pipelines import augment, to_float
from initpools_cli.core.bounds import Factor, PositiveFactor
from initpools_cli.core.errors import UserError
from initpools_cli.core.schema import ADDED
from initpools_cli.networks.vae import VAE as Autoencoder
from initpools_cli.pretext.base import Pretext
from initpools_cli.pretext.registry import pretexts

#: The reference's batch over its number of images.
REFERENCE_WEIGHT = 200 / 47_500
#: Where the log of the noise's deviation ends, below that of one of 256 levels: constant images would lead it further
#: and further down.
SMALLEST = -6.0


@pretexts.register("vae", paper="Kingma & Welling 2014, arXiv:1312.6114")
class VAE(Pretext):
    """Reconstruct images from a low-dimensional Gaussian code.

    Score, averaged over draws of the code, where the divergence is Kullback and Leibler's, of the code from a standard
    normal, summed over the code's dimensions, in nats. Features are the code's mean.

    - `likelihood` "mse", the reference's: mean squared error over pixels and channels, in squared units of pixels in
      [0, 1], + `kl_weight` times the divergence: a number without a unit. `kl_weight` defaults to the reference's
      200/47,500; there it followed the batch and data set size, which makes the scores of two runs incomparable.
    - "gaussian": the negative evidence lower bound in nats per image, that is minus the log density of all its pixel
      values in [0, 1] under normal noise of one deviation that all share and training learns (Rybkin et al. 2021,
      arXiv:2006.13202), + the divergence. It may be negative. Nothing is left to weigh; the deviation's own rate is
      20 times `lr`, so that short runs find it.

    Deviation: images stay in [0, 1] and the decoder ends in a sigmoid, `output` "sigmoid". "tanh" is the reference's
    output: it rebuilds (x - 0.5) / 0.25, about the reference's normalized pixels, which reach from -2 to 2, in values
    between -1 and 1, so its squared errors are in units of 1/16 and grow with contrast.

    Raises
    ------
    UserError
        A `kl_weight` of one's own or an `output` of "tanh" with the likelihood that takes none.
    """

    encoder: Autoencoder
    network = "vae"
    networks = ("vae",)
    recipe_default = "flip"
    high_score = "badly reconstructed, or far from a typical code"

    def __init__(
        self,
        encoder: Autoencoder,
        recipe: str,
        seed: int,
        *,
        likelihood: Literal["mse", "gaussian"] = "mse",
        kl_weight: Factor = REFERENCE_WEIGHT,
        lr: PositiveFactor = 1e-3,
        weight_decay: Factor = 5e-4,
        output: Annotated[Literal["sigmoid", "tanh"], Field(json_schema_extra=ADDED)] = "sigmoid",
    ) -> None:
        super().__init__(encoder, recipe)
        if likelihood == "gaussian" and kl_weight != REFERENCE_WEIGHT:
            raise UserError(
                f"kl_weight = {kl_weight} has no effect with likelihood = 'gaussian': its divergence has weight 1.",
                "Leave out kl_weight, or set likelihood=mse.",
                kl_weight,
            )
        if likelihood == "gaussian" and output == "tanh":
            raise UserError(
                "output = 'tanh' has no effect with likelihood = 'gaussian': its pixels are in [0, 1].",
                "Leave out output, or set likelihood=mse.",
                output,
            )
        self.output = output
        self.log_deviation = nn.Parameter(torch.zeros(())) if likelihood == "gaussian" else None
        self.kl_weight = kl_weight
        self.lr = lr
        self.weight_decay = weight_decay

    def inputs(self, images: Tensor, draws: Draws) -> tuple[Tensor, ...]:
        """The images (b, c, h, w) and the noise of their codes (b, latent)."""
        return augment(images, draws, self.recipe), draws.normal("code", self.encoder.features)

    def forward(self, images: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The reconstruction (b, c, h, w), and mean and log-variance of the code (b, latent)."""
        mean, log_variance = self.encoder.encode(images)
        code = mean + (0.5 * log_variance).exp() * noise
        rebuilt = self.encoder.decode(code)
        # A tanh is a sigmoid of twice the input, stretched to [-1, 1].
        return 2 * rebuilt - 1 if self.output == "tanh" else rebuilt, mean, log_variance

    def losses(self, inputs: tuple[Tensor, ...], outputs: Any, ids: Tensor, reference: Any = None) -> Tensor:
        """Squared error and weighted divergence, or the negative evidence lower bound: (b,) float64."""
        rebuilt, mean, log_variance = (part.double() for part in outputs)
        pixels = inputs[0].double()
        errors = (rebuilt - ((pixels - 0.5) / 0.25 if self.output == "tanh" else pixels)).square().flatten(1)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
        if self.log_deviation is None:
            return errors.mean(1) + self.kl_weight * divergence
        log_deviation = SMALLEST + F.softplus(self.log_deviation.double() - SMALLEST)
        constant = log_deviation + 0.5 * math.log(2 * math.pi)
        return (0.5 * errors * torch.exp(-2 * log_deviation) + constant).sum(1) + divergence

    def optimizer(self, batch: int) -> torch.optim.Optimizer:
        """Adam, as the reference, with its weight decay in the gradient."""
        networks: list[dict[str, Any]] = [{"params": self.encoder.parameters()}]
        if self.log_deviation is not None:
            networks.append({"params": [self.log_deviation], "lr": 20 * self.lr, "weight_decay": 0.0})
        return torch.optim.Adam(networks, lr=self.lr, weight_decay=self.weight_decay)

    def features(self, images: Tensor) -> Tensor:
        """The code's mean (b, latent)."""
        return self.encoder.encode(to_float(images))[0]
