"""Masked autoencoder: hidden patches of an image are reconstructed from visible ones (He et al. 2022)."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from initpools_cli.augment.draws import Draws
from initpools_cli.augment.pipelines import augment
from initpools_cli.core.bounds import Factor, Passes, PositiveFactor
from initpools_cli.networks.build import Encoder, seeded
from initpools_cli.networks.vit import VisionTransformer, blocks, positions
from initpools_cli.pretext.base import NOISE, Pretext
from initpools_cli.pretext.registry import pretexts

#: Added to the variance of a patch's pixels, as in the authors' code.
EPSILON = 1e-6


@pretexts.register("mae", paper="He et al. 2022, arXiv:2111.06377")
class MAE(Pretext):
    """Reconstruct the hidden patches of an image from the visible ones.

    Score: squared error over the pixels of the hidden patches, averaged over random masks and views. With
    `norm_pixels` each patch has mean 0 and deviation 1 before, so that the score has no unit, 1 is what guessing
    the mean of every patch costs, and fine texture weighs as much as strong edges; without, it is in squared
    units of pixels in [0, 1].

    The augmentation is the paper's crop of fixed size with a flip (84.7 % in its table 1; crops of random size 84.9,
    color changes less). Deviations from the paper: no class token; a shallower and narrower decoder, for a smaller
    encoder; the learning rate, which does not follow the batch, suits runs of tens of epochs and is not warmed up.
    """

    encoder: VisionTransformer
    network = "vit"
    networks: ClassVar[tuple[str, ...]] = ("vit",)
    recipe_default = "weak"
    high_score = "its hidden parts are hard to predict from the visible ones"

    def __init__(
        self,
        encoder: Encoder,
        recipe: str,
        seed: int,
        *,
        mask_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.75,
        decoder_depth: Passes = 2,
        decoder_dim: Annotated[int, Field(ge=32, le=1 << 16, multiple_of=32)] = 96,
        norm_pixels: bool = True,
        lr: PositiveFactor = 5e-4,
        weight_decay: Factor = 0.05,
    ) -> None:
        super().__init__(encoder, recipe)
        with seeded(seed, "mae decoder"):
            self.narrow = nn.Linear(encoder.features, decoder_dim)
            self.hidden = nn.Parameter(0.02 * torch.randn(decoder_dim))
            self.decoder = blocks(decoder_dim, decoder_depth, heads=decoder_dim // 32)
            self.norm = nn.LayerNorm(decoder_dim)
            self.head = nn.Linear(decoder_dim, self.encoder.embed.in_features)
        self.mask_ratio = mask_ratio
        self.norm_pixels = norm_pixels
        self.lr = lr
        self.weight_decay = weight_decay

    def inputs(self, images: Tensor, draws: Draws) -> tuple[Tensor, ...]:
        """The images (b, c, h, w), and their patches in random order (b, n): those seen come first."""
        view = augment(images, draws, self.recipe)
        rows, columns = self.encoder.grid(*view.shape[2:])
        return view, draws.uniform("mask", rows * columns).argsort(dim=1, stable=True)

    def visible(self, n: int) -> int:
        """Return the number of visible patches of n: at least one, and not all."""
        return n - min(n - 1, max(1, round(self.mask_ratio * n)))

    def forward(self, images: Tensor, order: Tensor) -> Tensor:
        """Predict the pixels (b, n - visible, patch * patch * c) of the hidden patches, in order."""
        visible = self.visible(order.shape[1])
        code = self.narrow(self.encoder.encode(_pick(self.encoder.tokens(images), order[:, :visible])))
        places = positions(*self.encoder.grid(*images.shape[2:]), code.shape[2]).to(code.device)[order]
        # Attention does not depend on the order of the tokens: they stay in random order, with embedded positions.
        blank = self.hidden.expand(len(code), order.shape[1] - visible, -1)
        tokens = self.decoder(torch.cat([code.to(blank.dtype), blank], 1) + places)
        return self.head(self.norm(tokens[:, visible:]))

    def losses(self, inputs: tuple[Tensor, ...], outputs: Tensor, ids: Tensor, reference: Any = None) -> Tensor:
        """Mean squared error over the pixels of the hidden patches: (b,) float64."""
        images, order = inputs
        target = _pick(self.encoder.patches(images).double(), order[:, self.visible(order.shape[1]) :])
        if self.norm_pixels:
            variance, mean = torch.var_mean(target, 2, keepdim=True)
            target = (target - mean) / (variance + EPSILON).sqrt()
        return (outputs.double() - target).square().flatten(1).mean(1)

    def optimizer(self, batch: int) -> torch.optim.Optimizer:
        """Adam with decoupled weight decay, on matrices alone."""
        matrices = [weight for weight in self.parameters() if weight.ndim > 1]
        vectors = [weight for weight in self.parameters() if weight.ndim <= 1]
        return torch.optim.AdamW(
            [{"params": matrices, "weight_decay": self.weight_decay}, {"params": vectors, "weight_decay": 0.0}],
            eps=NOISE,
            lr=self.lr,
            betas=(0.9, 0.95),
        )


def _pick(tokens: Tensor, places: Tensor) -> Tensor:
    """(b, n, d) and (b, m) int64 to the tokens at those places, (b, m, d)."""
    return tokens.gather(1, places[:, :, None].expand(-1, -1, tokens.shape[2]))
