"""Small vision transformer (Dosovitskiy et al. 2021, arXiv:2010.11929) that can encode a subset of patches."""

from __future__ import annotations

import math

import torch
from torch import nn

from initpools_cli.core.errors import UserError
from initpools_cli.networks.build import Encoder, scaled
from initpools_cli.networks.registry import networks

# Patch side by largest image side: about 16 to 256 patches per image.
_PATCHES = {16: 2, 64: 4}
_LARGEST_PATCH = 16
# Wavelengths of position embeddings range from 2 pi patches to this multiple of it, as in the transformer's paper.
_LONGEST = 10_000.0
# Typical of pixels: with unscaled values in [0, 1], tokens would differ mainly by position.
_MEAN, _DEVIATION = 0.5, 0.25


class VisionTransformer(Encoder):
    """Pre-norm transformer blocks on square patches with fixed position embeddings; features are the patch mean.

    Deviations from the paper: no class token, and sines and cosines of row and column in place of learned positions
    (Chen et al. 2021, arXiv:2104.02057), so that images need not be square.

    Parameters
    ----------
    channels : int
        Channels of the images.
    size : int
        Shorter side of the images.
    width : float
        Factor on the 64 channels of each head.
    patch : int
        Side of a patch, pixels; 0: 2 for images up to 16 pixels, 4 up to 64, 16 above.
    depth : int
        Number of blocks.
    heads : int
        Attention heads of a block.

    Raises
    ------
    UserError
        `patch` does not divide `size`.
    """

    def __init__(self, channels: int, size: int, width: float, patch: int, depth: int, heads: int) -> None:
        super().__init__(features=heads * scaled(64, width))
        self.patch = patch or next((side for largest, side in _PATCHES.items() if size <= largest), _LARGEST_PATCH)
        self.channels = channels
        self.grid(size, size)
        self.embed = nn.Linear(channels * self.patch**2, self.features)
        nn.init.xavier_uniform_(self.embed.weight)
        self.blocks = blocks(self.features, depth, heads)
        self.norm = nn.LayerNorm(self.features)

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Return the rows and columns of patches in an image of that many pixels.

        Raises
        ------
        UserError
            The sides are not multiples of the patch size.
        """
        if height % self.patch or width % self.patch:
            nearest = max(1, round(min(height, width) / self.patch)) * self.patch
            raise UserError(
                f"Images of {height} x {width} pixels can't be divided into patches of {self.patch} x {self.patch}.",
                f"Use for example --set dataset.size={nearest}.",
                f"{height} x {width}",
            )
        return height // self.patch, width // self.patch

    def patches(self, images: torch.Tensor) -> torch.Tensor:
        """Divide images (b, c, h, w) into patches (b, n, patch * patch * c), row by row."""
        rows, columns = self.grid(*images.shape[2:])
        cut = images.reshape(len(images), self.channels, rows, self.patch, columns, self.patch)
        return cut.permute(0, 2, 4, 3, 5, 1).reshape(len(images), rows * columns, -1)

    def tokens(self, images: torch.Tensor) -> torch.Tensor:
        """Embed the patches of images (b, c, h, w) with their positions: (b, n, features)."""
        places = positions(*self.grid(*images.shape[2:]), self.features).to(images.device)
        return self.embed((self.patches(images) - _MEAN) / _DEVIATION) + places

    def encode(self, tokens: torch.Tensor) -> torch.Tensor:
        """Encode any subset of tokens (b, m, features)."""
        features: torch.Tensor = self.norm(self.blocks(tokens))
        return features

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (b, c, h, w) to (b, features)."""
        return self.encode(self.tokens(images)).mean(1)


def blocks(width: int, depth: int, heads: int) -> nn.TransformerEncoder:
    """Build pre-norm transformer blocks with GELU."""
    block = nn.TransformerEncoderLayer(
        width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    stack = nn.TransformerEncoder(block, depth, enable_nested_tensor=False)
    # The stack copies one block with its weights; each block needs its own initial weights.
    for module in stack.modules():
        if isinstance(module, nn.MultiheadAttention):
            nn.init.xavier_uniform_(module.in_proj_weight)
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    return stack


def positions(rows: int, columns: int, width: int) -> torch.Tensor:
    """Return sine and cosine position embeddings of rows and columns (Vaswani et al. 2017, arXiv:1706.03762).

    Parameters
    ----------
    rows, columns : int
        Size of the grid.
    width : int
        A multiple of 4.

    Returns
    -------
    Tensor
        (rows * columns, width) float32, row by row.
    """
    rates = torch.exp(-math.log(_LONGEST) * torch.arange(width // 4) / (width // 4))
    angles = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))[:, :, None] * rates
    return torch.cat([angles.sin(), angles.cos()], 2).flatten(1)


@networks.register("vit", paper="Dosovitskiy et al. 2021, arXiv:2010.11929")
def vit(
    channels: int, size: int, *, width: float = 1.0, patch: int = 0, depth: int = 6, heads: int = 3
) -> VisionTransformer:
    """Vision transformer of 6 blocks, 192 features: patches of 2 pixels up to 16, of 4 up to 64, of 16 above."""
    return VisionTransformer(channels, size, width, patch, depth, heads)
