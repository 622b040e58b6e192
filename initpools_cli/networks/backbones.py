"""torchvision's classification networks with weights from a local file, cut before their last layer."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from initpools_cli.core.errors import UserError, unknown_name
from initpools_cli.networks.build import Encoder, seeded
from initpools_cli.networks.weights import fit, read_safetensors

if TYPE_CHECKING:
    from PIL.Image import Image

# What torchvision calls the part that turns features into classes.
_HEADS = ("fc", "classifier", "head", "heads")
# Published files of these were trained on inputs normalised another way, and building them without this draws weights
# from a slow sampler only to throw them away.
_BUILD: dict[str, dict[str, Any]] = {
    "googlenet": {"transform_input": True, "init_weights": False},
    "inception_v3": {"transform_input": True, "init_weights": False},
}


@dataclass(frozen=True)
class Preprocess:
    """An image as the backbone's weights were trained to see it.

    Attributes
    ----------
    transforms : callable
        torchvision's own for those weights: resize, centre crop, scale, normalise.
    """

    transforms: Callable[[Any], torch.Tensor]

    def __call__(self, image: Image | torch.Tensor) -> torch.Tensor:
        """A PIL image of any mode or a tensor (..., c, h, w), uint8 or float in [0, 1], to (..., 3, h', w') float32.

        Grayscale is repeated to three channels.
        """
        if isinstance(image, torch.Tensor):
            return self.transforms(image.expand(*image.shape[:-3], 3, *image.shape[-2:]))
        return self.transforms(image.convert("RGB"))


class Backbone(Encoder):
    """A torchvision classifier whose last layer is taken out.

    Parameters
    ----------
    classifier : nn.Module
        The network; changed in place.
    """

    def __init__(self, classifier: nn.Module) -> None:
        name, layer = _last_layer(classifier)
        super().__init__(features=layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels)
        classifier.set_submodule(name, nn.Identity())
        self.body = classifier
        self.cut = name

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(b, 3, h, w), preprocessed, to (b, features): what the last layer would have seen."""
        features: torch.Tensor = self.body(images)
        return features.flatten(1)


def _last_layer(classifier: nn.Module) -> tuple[str, nn.Linear | nn.Conv2d]:
    layers = [
        (name, layer)
        for name, layer in classifier.named_modules()
        if name.split(".")[0] in _HEADS and isinstance(layer, nn.Linear | nn.Conv2d)
    ]
    return layers[-1]


def backbone_names() -> list[str]:
    """The names `load_backbone` knows, sorted."""
    from torchvision import models

    return sorted(models.list_models(module=models))


def load_backbone(name: str, weights: Path) -> tuple[Backbone, Preprocess]:
    """A torchvision network with the weights of a local file, and the preprocessing they were trained with.

    Parameters
    ----------
    name : str
        One of `backbone_names`.
    weights : Path
        A .safetensors file, or what torch.save wrote: tensors by name, also under "state_dict" or "model", and with
        names that start with "module.". A last layer in it is ignored, of whatever number of classes.

    Returns
    -------
    backbone : Backbone
        On the CPU, in evaluation mode: (b, 3, h, w) to (b, features), the input of the classifier's last layer.
    preprocess : Preprocess
        A PIL image or an array of images as a tensor to the backbone's input.

    Raises
    ------
    UserError
        An unknown name; a file that is missing (with the address to fetch it from), unreadable, or of another network.
    """
    from torchvision import models

    if name not in backbone_names():
        raise unknown_name("backbone", name, backbone_names(), "initpools list networks")
    published = list(models.get_model_weights(name))
    default = models.get_model_weights(name).DEFAULT
    if not weights.is_file():
        file_name = default.url.rsplit("/", 1)[-1]
        raise UserError(
            f"There is no weights file {weights}.", f"Fetch {default.url} and give --weights the path of {file_name}."
        )
    # A network has weights of several recipes that resize differently; the file name says which these are.
    trained = next((entry for entry in published if entry.url.rsplit("/", 1)[-1] == weights.name), default)
    state = read_safetensors(weights) if weights.suffix == ".safetensors" else _read_pickled(weights)

    with seeded(0, name):
        backbone = Backbone(models.get_model(name, weights=None, **_BUILD.get(name, {})))
    known = {key: value for key, value in map(_renamed, state.items()) if not key.startswith(f"{backbone.cut}.")}
    fit(backbone.body, known, weights)
    return backbone.eval(), Preprocess(trained.transforms())


def _renamed(item: tuple[str, torch.Tensor]) -> tuple[str, torch.Tensor]:
    """Names as the network has them: without "module.", and DenseNet's "norm.1" of old files as "norm1"."""
    key = re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", item[0].removeprefix("module."))
    return key, item[1]


def _read_pickled(path: Path) -> dict[str, torch.Tensor]:
    """Tensors by name from a file of torch.save, read without running what is pickled in it."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        reason = str(error).split("\n", 1)[0]
        raise UserError(
            f"{path} cannot be read as weights ({reason}).", "Fetch the file again, or name another."
        ) from None
    for wrapper in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise UserError(f"{path} holds no tensors by name.", "Save the network's state_dict and name that file.")
    return content
