"""What networks with weights from elsewhere have in common: their preprocessing, and how they pool over positions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from initpools_cli.core.errors import UserError
from initpools_cli.networks.build import Encoder

if TYPE_CHECKING:
    from PIL.Image import Image

#: What `torch.nn` modules and the libraries' own checks raise for images of a size they can't take.
SIZE_ERRORS = (AssertionError, RuntimeError, ValueError, TypeError)


@dataclass(frozen=True)
class PretrainedWeights:
    """Weights that a library has published for a network.

    Attributes
    ----------
    cached : Path or None
        The file in the library's own cache on this machine, if it is there.
    place : Path
        Where the cache would have it.
    address : str
        Where it can be fetched from.
    command : str
        A command that fetches it into the cache, where there is one.
    """

    cached: Path | None
    place: Path
    address: str
    command: str = ""


@dataclass(frozen=True)
class Preprocess:
    """An image as the backbone's weights were trained to see it.

    Attributes
    ----------
    cut : callable
        A PIL image, resized and cropped, as (channels, h, w) uint8.
    mean, std : tuple of float
        Of each channel, of values in [0, 1].
    """

    cut: Callable[[Image], Tensor]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def read(self, image: Image) -> Tensor:
        """A PIL image of at most 8 bits, resized and cropped, as (channels, h', w') uint8; gray is repeated if need be.

        Raises
        ------
        ValueError
            Deeper values, which Pillow would cut off at 255.
        """
        if image.mode == "F" or image.mode.startswith("I"):
            raise ValueError(f"an image of mode {image.mode}, not of 8 bits")
        return self.cut(image.convert("L" if len(self.mean) == 1 else "RGB"))

    def scale(self, images: Tensor) -> Tensor:
        """What `read` made, (b, channels, h', w') uint8 on any device, as the network's input, float32."""
        mean, std = (torch.tensor(values, device=images.device).view(-1, 1, 1) for values in (self.mean, self.std))
        return images.float().div_(255).sub_(mean).div_(std)

    def __call__(self, image: Image) -> Tensor:
        """A PIL image as the network's input, (channels, h', w') float32."""
        return self.scale(self.read(image))


class Backbone(Encoder):
    """A published network without its last layer.

    Parameters
    ----------
    body : nn.Module
        The network; its output is what its own way of pooling makes.

    Attributes
    ----------
    pooling : str
        "auto" is the network's own way; "none" keeps the places apart; or one of `poolings`.
    """

    def __init__(self, body: nn.Module) -> None:
        super().__init__(features=0)
        self.body = body
        self.pooling = "auto"

    def tokens(self, images: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """What the network knows before it pools.

        Parameters
        ----------
        images : Tensor
            (b, c, h, w), preprocessed.

        Returns
        -------
        whole : Tensor or None
            (b, d), the class token; None for a network without.
        places : Tensor or None
            (b, positions, d), row by row: the patch tokens of a transformer, or the last map of a convolutional
            network. None where they can't be told.
        """
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """(b, c, h, w), preprocessed, to (b, features), or to (b, positions, features) without pooling."""
        if self.pooling == "auto":
            own: Tensor = self.body(images)
            return own.flatten(1)
        whole, places = self.tokens(images)
        if self.pooling != "none":
            return poolings(whole, places)[self.pooling]()
        if places is None:
            raise UserError(
                "It can't be told what this backbone makes of single places in an image.",
                "Take another, best a transformer, as vit_b_16.",
            )
        return places

    def prepare(self, blank: Tensor, pooling: str, name: str) -> Backbone:
        """The backbone itself in evaluation mode, tried on an image of the size it will see.

        Raises
        ------
        UserError
            It can't take images of that size, or can't be pooled like that.
        """
        self.eval()
        with torch.inference_mode():
            try:
                possible = ["auto", *poolings(*self.tokens(blank))]
            except SIZE_ERRORS as error:
                raise cannot_take(blank.shape[-1], name, error) from None
            if pooling not in possible:
                raise UserError(
                    f"{name} can't be pooled by '{pooling}'.", f"Set embed.pooling to {' or '.join(possible)}."
                )
            self.pooling = pooling
            self.features = self(blank).shape[1]
        return self


def cannot_take(size: int, name: str, error: Exception) -> UserError:
    """The error for a size of images that a network refuses."""
    reason = str(error).split("\n", 1)[0].rstrip(".")
    return UserError(
        f"{name} can't take images of {size} x {size} pixels ({reason}).",
        "Leave embed.size out for the network's own size, or set it to another.",
    )


def poolings(whole: Tensor | None, places: Tensor | None) -> dict[str, Callable[[], Tensor]]:
    """The ways in which what `Backbone.tokens` returned can be pooled, each to (b, features).

    "cls+mean" puts the class token and the mean of the patch tokens side by side, as the linear evaluation of DINOv2
    does (Oquab et al. 2023, arXiv:2304.07193).
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
