"""Base class of published backbones: preprocessing and pooling over positions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from initpools_cli.core.errors import UserError
from initpools_cli.networks.attention import most_attended
from initpools_cli.networks.build import Encoder

if TYPE_CHECKING:
    from PIL.Image import Image

#: Exceptions of networks for images of an unsupported size.
SIZE_ERRORS = (AssertionError, RuntimeError, ValueError, TypeError)


@dataclass(frozen=True)
class HubFile:
    """A file of a model on the Hugging Face hub.

    Attributes
    ----------
    model : str
        Owner and name.
    files : tuple of str
        Possible names of the file, the preferred one first.
    revision : str
        A branch, a tag or a commit.
    """

    model: str
    files: tuple[str, ...]
    revision: str


@dataclass(frozen=True)
class PretrainedWeights:
    """Published weights of a network.

    Attributes
    ----------
    cache_file : Path or None
        The file in the library's local cache, if it exists.
    place : Path
        Its path in the cache.
    address : str
        Its web address.
    command : str
        A command that downloads it to the cache; empty if there is none.
    hub : HubFile or None
        What to download from the Hugging Face hub; None for a file that is not there.
    """

    cache_file: Path | None
    place: Path
    address: str
    command: str = ""
    hub: HubFile | None = None

    @property
    def downloadable(self) -> bool:
        """Whether the file can be downloaded; the weights of a pip package can't."""
        return self.hub is not None or not self.command


@dataclass(frozen=True)
class Preprocess:
    """Preprocessing of images as in the training of a backbone's weights.

    Attributes
    ----------
    cut : callable
        Resizes and crops a PIL image to (channels, h, w) uint8.
    mean, std : tuple of float
        Statistics of each channel, for values in [0, 1].
    side : int
        The shorter side after resizing, pixels.
    draft : int
        A sufficient side: JPEG may be decoded at 1/2, 1/4 or 1/8 of its size while the shorter side is at least twice
        as long. 0: always at full size.
    """

    cut: Callable[[Image], Tensor]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    side: int
    draft: int = 0

    def read(self, image: Image) -> Tensor:
        """Resize and crop an 8-bit PIL image to (channels, h', w') uint8; gray is repeated if color is needed.

        Raises
        ------
        ValueError
            The image has more than 8 bits, which Pillow would clip at 255.
        """
        if image.mode == "F" or image.mode.startswith("I"):
            raise ValueError(f"an image of mode {image.mode}, not of 8 bits")
        # One channel is resized in a third of the time of three equal ones.
        gray = len(self.mean) == 1 or image.mode == "L"
        return self.cut(image.convert("L" if gray else "RGB")).expand(len(self.mean), -1, -1)

    def scale(self, images: Tensor) -> Tensor:
        """Normalize images of `read`, (b, channels, h', w') uint8 on any device, to float32 inputs."""
        mean, std = (torch.tensor(values, device=images.device).view(-1, 1, 1) for values in (self.mean, self.std))
        return images.float().div_(255).sub_(mean).div_(std)

    def __call__(self, image: Image) -> Tensor:
        """Convert a PIL image to the network's input, (channels, h', w') float32."""
        return self.scale(self.read(image))


class Backbone(Encoder):
    """A published network without its last layer.

    Parameters
    ----------
    body : nn.Module
        The network; its output has the network's own pooling.

    Attributes
    ----------
    pooling : str
        "auto" (the network's own), "none" (one feature vector per position), or one of `poolings`.
    attention : float
        Without pooling: the share of the class token's attention that the kept positions have; the features of all
        others are 0. 1: all are kept.
    cpu_block : int
        On a CPU, the number of images in each of several forward passes at the same time; the network must not keep
        state in them. 0: one pass at a time.
    """

    cpu_block = 0

    def __init__(self, body: nn.Module) -> None:
        super().__init__(features=0)
        self.body = body
        self.pooling = "auto"
        self.attention = 1.0

    def tokens(self, images: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return the outputs of the last layer before pooling.

        Parameters
        ----------
        images : Tensor
            (b, c, h, w), preprocessed.

        Returns
        -------
        whole : Tensor or None
            (b, d), the class token; None if the network has none.
        places : Tensor or None
            (b, positions, d), row by row: the patch tokens of a transformer, or the last map of a convolutional
            network. None if they are not available.
        """
        raise NotImplementedError

    def attended(self, images: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return the patch tokens (b, positions, d), and the class token's attention to them (b, positions).

        The attention is the mean over the heads of the last layer. None for networks without it.
        """
        return None

    def forward(self, images: Tensor) -> Tensor:
        """Map preprocessed images (b, c, h, w) to (b, features), or (b, positions, features) without pooling."""
        if self.pooling == "auto":
            own: Tensor = self.body(images)
            return own.flatten(1)
        if self.pooling == "none" and self.attention < 1:
            return self._most_attended(images)
        whole, places = self.tokens(images)
        if self.pooling != "none":
            return poolings(whole, places)[self.pooling]()
        if places is None:
            raise UserError(
                "This backbone has no features of single patches.",
                "Choose another, such as the transformer vit_b_16.",
                "backbone",
            )
        return places

    def _most_attended(self, images: Tensor) -> Tensor:
        attended = self.attended(images)
        if attended is None:
            raise UserError(
                f"embed.attention = {self.attention:g} needs a vision transformer with a class token; this backbone is "
                "none, or has another kind of attention.",
                "Choose another, such as dino-small or vit_b_16, or leave out embed.attention.",
                self.attention,
            )
        places, attention = attended
        return places.masked_fill(~most_attended(attention, self.attention)[:, :, None], 0)

    def prepare(self, blank: Tensor, pooling: str, name: str) -> Backbone:
        """Set evaluation mode and pooling, and check them on a blank image of the input size.

        Raises
        ------
        UserError
            The network does not support that size or pooling.
        """
        self.eval()
        with torch.inference_mode():
            try:
                possible = ["auto", *poolings(*self.tokens(blank))]
            except SIZE_ERRORS as error:
                raise cannot_take(blank.shape[-1], name, error) from None
            if pooling not in possible:
                raise UserError(
                    f"{name} does not support the pooling '{pooling}'.",
                    f"Set embed.pooling to {' or '.join(possible)}.",
                    pooling,
                )
            self.pooling = pooling
            self.features = self(blank).shape[1]
        return self


def cannot_take(size: int, name: str, error: Exception) -> UserError:
    """Return the error for an image size that a network does not support."""
    reason = str(error).split("\n", 1)[0].rstrip(".")
    return UserError(
        f"{name} does not support images of {size} x {size} pixels ({reason}).",
        "Leave out embed.size for the network's own size, or set it to another.",
        size,
    )


def poolings(whole: Tensor | None, places: Tensor | None) -> dict[str, Callable[[], Tensor]]:
    """Return the possible poolings of the outputs of `Backbone.tokens`, each to (b, features).

    "cls+mean" concatenates the class token and the mean of the patch tokens, as the linear evaluation of DINOv2 does
    (Oquab et al. 2023, arXiv:2304.07193).
    """
    ways: dict[str, Callable[[], Tensor]] = {}
    if whole is not None:
        ways["cls"] = lambda: whole
    if places is not None:
        ways["mean"] = lambda: places.mean(dim=1)
        ways["max"] = lambda: places.amax(dim=1)
    if whole is not None and places is not None:
        ways["cls+mean"] = lambda: torch.cat([whole, places.mean(dim=1)], dim=1)
    return ways
