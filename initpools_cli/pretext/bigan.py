"""BiGAN: an encoder and a generator trained as inverses against a critic (Donahue et al. 2017)."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

from initpools_cli.augment.draws import Draws
from initpools_cli.augment.pipelines import augment
from initpools_cli.core.bounds import Factor, PositiveFactor
from initpools_cli.networks.bigan import BiGAN as Network
from initpools_cli.networks.build import Encoder
from initpools_cli.pretext.base import NOISE, Pretext
from initpools_cli.pretext.registry import pretexts
from initpools_cli.pretext.two_views import refuse_lone_image

#: Keeps the critic's features from being divided by 0.
EPSILON = 1e-6


def critic_loss(real: Tensor, fake: Tensor) -> Tensor:
    """The critic's loss: cross-entropy of its logits for real and for generated pairs, (b,) float64, nats."""
    return F.softplus(-real.double()) + F.softplus(fake.double())


def generator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """The loss of encoder and generator: that of the critic with real and fake exchanged, (b,) float64, nats."""
    return critic_loss(fake, real)


@pretexts.register("bigan", paper="Donahue et al. 2017, arXiv:1605.09782; ALI: Dumoulin et al. 2017, arXiv:1606.00704")
class BiGAN(Pretext):
    """Train an encoder and a generator against a critic of pairs of image and code.

    Score (Zenati et al. 2018, arXiv:1802.06222): `alpha` times the absolute error of the rebuilt image, averaged over
    pixels in [0, 1] and channels, + (1 - `alpha`) times the absolute difference of the critic's last hidden layer
    between the image and what was rebuilt, as a share of that layer's size. No unit; averaged over views.

    Training minimizes, in one step of one optimizer, the critic's loss, the loss of encoder and generator, and `cycle`
    times the mean score. Each player's gradient is that of the textbook's two optimizers, since what belongs to the
    other is held still. The logged loss is the sum and need not fall: while neither side wins, the two losses stay
    near 2.8 together.

    Deviations from the papers: the critic and the others are updated at once, not in turn; the cycle term, in the
    spirit of ALICE (Li et al. 2017, arXiv:1709.01215): with a weight of 1, images of short runs were rebuilt worse than
    by their mean; spectral norm in the critic; normalized codes without noise; the score's second term is a share, and
    both are means; the learning rate suits runs of tens of epochs.
    """

    encoder: Network
    network = "bigan"
    networks: ClassVar[tuple[str, ...]] = ("bigan",)
    recipe_default = "flip"
    high_score = "badly reconstructed, in pixels or in the features of the critic"

    def __init__(
        self,
        encoder: Encoder,
        recipe: str,
        seed: int,
        *,
        alpha: Annotated[float, Field(ge=0, le=1)] = 0.9,
        cycle: Factor = 10.0,
        lr: PositiveFactor = 1e-3,
    ) -> None:
        super().__init__(encoder, recipe)
        self.alpha = alpha
        self.cycle = cycle
        self.lr = lr

    def inputs(self, images: Tensor, draws: Draws) -> tuple[Tensor, ...]:
        """The images (b, c, h, w), and codes to make others from (b, latent)."""
        return augment(images, draws, self.recipe), draws.normal("code", self.encoder.latent)

    def forward(self, images: Tensor, codes: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs for scores and, in training, those for the adversarial losses.

        Returns
        -------
        rebuilt : Tensor
            (b, c, h, w).
        hidden, hidden_rebuilt : Tensor
            (b, hidden), the critic's last hidden layer for the images and for `rebuilt`.
        real, fake : Tensor
            (b,), only in training: the critic's logits, with gradients of the critic's weights only.
        real_adversarial, fake_adversarial : Tensor
            (b,), only in training: the same logits, with gradients of all weights but the critic's.
        """
        network, critic = self.encoder, self.encoder.critic
        if self.training:
            refuse_lone_image(len(images))
        latents = network.encode(images)
        if not self.training:
            rebuilt = network.generate(latents)
            hidden, _ = critic(torch.cat([images, rebuilt]), latents.repeat(2, 1))
            return rebuilt, *hidden.chunk(2)
        rebuilt, fake_images = network.generate(torch.cat([latents, codes])).chunk(2)
        _, logits = critic(torch.cat([images, fake_images.detach()]), torch.cat([latents.detach(), codes]))
        # In evaluation mode the spectral norms are those of the pass above.
        critic.eval()
        still = {name: weight.detach() for name, weight in critic.named_parameters()}
        pairs = torch.cat([images, rebuilt, fake_images]), torch.cat([latents, latents, codes])
        hidden, adversarial = functional_call(critic, still, pairs)
        critic.train()
        real_adversarial, _, fake_adversarial = adversarial.chunk(3)
        return rebuilt, *hidden.chunk(3)[:2], *logits.chunk(2), real_adversarial, fake_adversarial

    def losses(self, inputs: tuple[Tensor, ...], outputs: Any, ids: Tensor, reference: Any = None) -> Tensor:
        """Reconstruction error of each image, in pixels and in the critic's features: (b,) float64."""
        rebuilt, hidden, hidden_rebuilt = (part.double().flatten(1) for part in outputs[:3])
        pixels = (rebuilt - inputs[0].double().flatten(1)).abs().mean(1)
        size = hidden.detach().abs().mean(1) + EPSILON
        return self.alpha * pixels + (1 - self.alpha) * (hidden_rebuilt - hidden).abs().mean(1) / size

    def loss(self, inputs: tuple[Tensor, ...], outputs: Any, ids: Tensor) -> Tensor:
        """The critic's loss, that of encoder and generator, and the weighted mean of `losses`: () float64."""
        real, fake, real_adversarial, fake_adversarial = outputs[3:]
        game = critic_loss(real, fake) + generator_loss(real_adversarial, fake_adversarial)
        return (game + self.cycle * self.losses(inputs, outputs, ids)).mean()

    def optimizer(self, batch: int) -> torch.optim.Optimizer:
        """Adam with the short memory of DCGAN (Radford et al. 2016, arXiv:1511.06434)."""
        return torch.optim.Adam(self.parameters(), lr=self.lr, betas=(0.5, 0.999), eps=NOISE)
