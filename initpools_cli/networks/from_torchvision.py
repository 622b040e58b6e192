"""Classification networks of torchvision without their last layer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from initpools_cli.networks.frozen import Backbone, Preprocess, PretrainedWeights
from initpools_cli.networks.layouts import encoder_of
from initpools_cli.networks.weights import ANOTHER_NETWORK, fit

if TYPE_CHECKING:
    from PIL.Image import Image

# Names of the classification part in torchvision's networks.
_HEADS = ("fc", "classifier", "head", "heads")
# Published weights of these need inputs normalized differently, and their default initialization is slow and not
# needed.
_BUILD: dict[str, dict[str, Any]] = {
    "googlenet": {"transform_input": True, "init_weights": False},
    "inception_v3": {"transform_input": True, "init_weights": False},
}


class Classifier(Backbone):
    """A torchvision classifier without its last layer.

    Parameters
    ----------
    classifier : nn.Module
        The network; changed in place.
    """

    def __init__(self, classifier: nn.Module) -> None:
        last = _last_layer(classifier)
        classifier.set_submodule(last, nn.Identity())
        super().__init__(classifier)
        self.cut = last

    def tokens(self, images: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return the class token and the patch tokens; see `Backbone.tokens`."""
        from torchvision.models import VisionTransformer

        if isinstance(self.body, VisionTransformer):
            features = _output(self.body.encoder, self.body, images)
            return features[:, 0], features[:, 1:]
        pool = _global_pool(self.body)
        # Networks that average with a function, such as DenseNet, have no pooling module.
        if pool is None:
            return None, None
        return None, _input(pool, self.body, images).flatten(2).transpose(1, 2)

    def attended(self, images: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return the patch tokens and the class token's attention to them; see `Backbone.attended`."""
        from torchvision.models import VisionTransformer

        if not isinstance(self.body, VisionTransformer):
            return None
        layer = self.body.encoder.layers[-1].self_attention
        inputs: list[Tensor] = []
        with layer.register_forward_pre_hook(lambda _, args: inputs.append(args[0])):
            places = _output(self.body.encoder, self.body, images)[:, 1:]
        tokens = inputs[0].float()
        with torch.autocast(images.device.type, enabled=False):
            attention = layer(tokens[:, :1], tokens, tokens)[1]
        return places, attention[:, 0, 1:]


def _last_layer(classifier: nn.Module) -> str:
    return [
        name
        for name, layer in classifier.named_modules()
        if name.split(".")[0] in _HEADS and isinstance(layer, nn.Linear | nn.Conv2d)
    ][-1]


def _global_pool(body: nn.Module) -> nn.Module | None:
    for name, layer in body.named_modules():
        if isinstance(layer, nn.AdaptiveAvgPool2d) and name.split(".")[0] in ("avgpool", *_HEADS):
            return layer
    return None


def _input(layer: nn.Module, body: nn.Module, images: Tensor) -> Tensor:
    """Return the input of `layer` in a forward pass of `body`."""
    tensors: list[Tensor] = []
    with layer.register_forward_pre_hook(lambda _, inputs: tensors.append(inputs[0])):
        body(images)
    return tensors[0]


def _output(layer: nn.Module, body: nn.Module, images: Tensor) -> Tensor:
    """Return the output of `layer` in a forward pass of `body`."""
    tensors: list[Tensor] = []
    with layer.register_forward_hook(lambda _, inputs, output: tensors.append(output)):
        body(images)
    return tensors[0]


@cache
def names() -> tuple[str, ...]:
    """Return the sorted names of the networks."""
    from torchvision import models

    return tuple(sorted(models.list_models(module=models)))


def published_weights(name: str) -> PretrainedWeights:
    """Return the default weights of a network."""
    from torchvision import models

    url = models.get_model_weights(name).DEFAULT.url
    file = Path(torch.hub.get_dir()) / "checkpoints" / _file_name(url)
    return PretrainedWeights(file if file.is_file() else None, file, url)


def load(name: str, state: Mapping[str, Tensor], weights: Path, size: int, pooling: str) -> tuple[Backbone, Preprocess]:
    """Load a network with the tensors `state` of a file; see `backbones.load_backbone`."""
    from torchvision import models

    # Weights of several recipes need different resizing; the file name tells the recipe.
    entries = models.get_model_weights(name)
    recipe_entry = next((entry for entry in entries if _file_name(entry.url) == weights.name), entries.DEFAULT)
    how = dict(_BUILD.get(name, {}))
    if name.startswith("vit_"):
        how["image_size"] = min(recipe_entry.meta["min_size"])
    backbone = Classifier(models.get_model(name, weights=None, **how))
    state = encoder_of(state, backbone.body.state_dict())
    tensors = {key: value for key, value in map(_renamed, state.items()) if not key.startswith(f"{backbone.cut}.")}
    fit(backbone.body, tensors, weights, ANOTHER_NETWORK)
    recipe = recipe_entry.transforms()
    side, crop = recipe.resize_size[0], recipe.crop_size[0]
    if size:
        side, crop = round(size * side / crop), size
    preprocess = Preprocess(
        partial(_cut, side=side, crop=crop, interpolation=recipe.interpolation),
        tuple(recipe.mean),
        tuple(recipe.std),
        side,
    )
    backbone.prepare(torch.zeros(1, 3, crop, crop), pooling, name)
    return backbone, preprocess


def _cut(image: Image, side: int, crop: int, interpolation: Any) -> Tensor:
    from torchvision.transforms import functional as F

    return F.pil_to_tensor(F.center_crop(F.resize(image, [side], interpolation=interpolation), [crop, crop]))


def _file_name(url: str) -> str:
    return url.rsplit("/", 1)[-1]


def _renamed(item: tuple[str, Tensor]) -> tuple[str, Tensor]:
    """Rename tensors of old files: DenseNet's "norm.1" to "norm1"."""
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", item[0]), item[1]
