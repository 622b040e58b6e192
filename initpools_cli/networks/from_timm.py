"""Networks of timm without their heads, such as DINOv2 and CLIP's image encoders."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from initpools_cli.core.errors import UserError
from initpools_cli.networks import efficientnet_lite
from initpools_cli.networks.attention import LastAttention
from initpools_cli.networks.frozen import SIZE_ERRORS, Backbone, Preprocess, PretrainedWeights, cannot_take
from initpools_cli.networks.hub import on_hub
from initpools_cli.networks.layouts import encoder_of, to_timm
from initpools_cli.networks.weights import ANOTHER_NETWORK, fit

# Names of the functions in timm's modules that convert files of other projects.
_FILTERS = ("checkpoint_filter_fn", "pretrained_filter_fn", "_filter_fn", "_filter_torchvision_pretrained")
# Files of a model on the Hugging Face hub, in timm's order of preference.
_FILES = ("model.safetensors", "pytorch_model.bin")


class Trunk(Backbone):
    """A timm network without a head."""

    def tokens(self, images: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return the class token and the patch tokens; see `Backbone.tokens`. Register tokens are left out."""
        body: Any = self.body
        features = body.forward_features(images)
        if not isinstance(features, Tensor) or body.num_features not in features.shape[1:]:
            return None, None
        if features.ndim == 4:
            last = features.shape[1] != body.num_features or str(getattr(body, "output_fmt", "NCHW")) == "NHWC"
            return None, (features if last else features.permute(0, 2, 3, 1)).flatten(1, 2)
        has_class = isinstance(getattr(body, "cls_token", None), Tensor)
        extra = getattr(body, "num_prefix_tokens", None)
        # With a class token but without this number, the position of the first patch is not known.
        if features.ndim != 3 or features.shape[2] != body.num_features or (extra is None and has_class):
            return None, None
        return features[:, 0] if has_class and extra else None, features[:, extra or 0 :]

    def attended(self, images: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return the patch tokens and the class token's attention to them; see `Backbone.attended`."""
        with LastAttention() as last:
            whole, places = self.tokens(images)
        attention = last.of_first_token()
        if whole is None or places is None or attention is None:
            return None
        body: Any = self.body
        # Other numbers of keys are those of windows, or of pooled tokens.
        if attention.shape[1] != body.num_prefix_tokens + places.shape[1]:
            return None
        return places, attention[:, body.num_prefix_tokens :]


@cache
def names() -> tuple[str, ...]:
    """Return the names of networks without tags."""
    import timm

    return tuple(timm.list_models())


def names_with_tags() -> list[str]:
    """Return the names of networks with the tag of each published set of weights."""
    import timm

    return list(timm.list_pretrained())


def tags(name: str) -> list[str]:
    """Return a network's names with the tags of its published weights, the default first."""
    from timm.models import get_arch_pretrained_cfgs

    return list(get_arch_pretrained_cfgs(name))


def has(name: str) -> bool:
    """Whether timm has a network of that name, and its tag if there is one in the name."""
    import timm

    return timm.is_model(name.partition(".")[0]) and ("." not in name or name in tags(name))


def tagged(name: str) -> str:
    """Return the name with the tag of its default weights, unless it has a tag."""
    tag = _config(name).tag
    return name if "." in name or not tag else f"{name}.{tag}"


def remark(name: str) -> str:
    """Return timm's notes on the weights, without the advice to use a network that is used already."""
    return "; ".join(note for note in _config(name).notes or () if not ("quickgelu" in note and "quickgelu" in name))


def published_weights(name: str) -> PretrainedWeights:
    """Return the weights of the name's tag, or the default ones, in the cache of the Hugging Face hub or of torch.

    Raises
    ------
    UserError
        timm has no weights of that network.
    """
    config = _config(name)
    places = [*_on_hub(config), *_by_address(config)]
    if not places:
        raise UserError(
            f"timm has no published weights of {name}.",
            "Pass your own with --weights FILE, or choose another network.",
            name,
        )
    return next((place for place in places if place.cache_file), places[0])


def _on_hub(config: Any) -> list[PretrainedWeights]:
    if not config.hf_hub_id:
        return []
    model, _, revision = str(config.hf_hub_id).partition("@")
    return [on_hub(model, (config.hf_hub_filename,) if config.hf_hub_filename else _FILES, revision)]


def _by_address(config: Any) -> list[PretrainedWeights]:
    # JAX arrays (.npz), as published with Google's ViTs, are on the hub as torch tensors.
    if not isinstance(config.url, str) or not config.url or config.url.endswith(".npz"):
        return []
    file = Path(torch.hub.get_dir()) / "checkpoints" / config.url.rsplit("/", 1)[-1]
    return [PretrainedWeights(file if file.is_file() else None, file, config.url)]


def load(name: str, state: Mapping[str, Tensor], weights: Path, size: int, pooling: str) -> tuple[Backbone, Preprocess]:
    """Load a network with the tensors `state` of a file; see `backbones.load_backbone`."""
    from timm.data import create_transform, resolve_model_data_config

    body = _build(name, size)
    fill(body, name, state, weights)
    config = resolve_model_data_config(body, args={"img_size": size} if size else None)
    channels, height, width = config["input_size"]
    if channels not in (1, 3):
        raise UserError(
            f"{name} needs images of {channels} channels.", "Choose a network for gray or color images.", channels
        )
    # Scaling is left to `Preprocess.scale`, for a whole batch on the device.
    cut = create_transform(**config, is_training=False, normalize=False)
    side = math.floor(min(height, width) / config["crop_pct"])
    preprocess = Preprocess(cut, tuple(config["mean"]), tuple(config["std"]), side)
    backbone = Trunk(body)
    backbone.prepare(torch.zeros(1, channels, height, width), pooling, name)
    return backbone, preprocess


def fill(body: nn.Module, name: str, state: Mapping[str, Tensor], weights: Path) -> None:
    """Copy the tensors `state` of a file in any layout of `networks.layouts` into the network `name` without a head.

    Raises
    ------
    UserError
        The tensors belong to another network.
    """
    state = to_timm(encoder_of(state, body.state_dict()))
    tensors = _without_head(body, _renamed(name, body, state), _config(name).classifier or ())
    fit(body, tensors, weights, ANOTHER_NETWORK)


def _build(name: str, size: int) -> nn.Module:
    import timm

    if not size:
        return timm.create_model(name, pretrained=False, num_classes=0)
    if not _config(name).fixed_input_size:
        return timm.create_model(name, pretrained=False, num_classes=0)
    try:
        body = timm.create_model(name, pretrained=False, num_classes=0, img_size=size)
    except SIZE_ERRORS as error:
        raise cannot_take(size, name, error) from None
    patch = getattr(getattr(body, "patch_embed", None), "patch_size", None)
    if patch and size % patch[0]:
        raise UserError(
            f"embed.size = {size} is not a multiple of the patch size of {name}, {patch[0]} pixels.",
            f"Set embed.size to {size // patch[0] * patch[0] or patch[0]} or {(size // patch[0] + 1) * patch[0]}.",
            size,
        )
    return body


def _renamed(name: str, body: nn.Module, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Convert names and shapes to those of the network, with timm's function for its own and other files."""
    if efficientnet_lite.is_lite_file(state) and isinstance(getattr(body, "blocks", None), nn.Sequential):
        return efficientnet_lite.timm_names(state, body)
    from timm.models import model_entrypoint

    module = sys.modules[model_entrypoint(name.partition(".")[0]).__module__]
    rename: Callable[..., dict[str, Tensor]] | None = next(
        (getattr(module, filter_) for filter_ in _FILTERS if hasattr(module, filter_)), None
    )
    if rename is None:
        return state
    try:
        tensors = rename(dict(state), body)
    # Files of other networks can make it raise almost any exception.
    except Exception:
        return state
    # Position embeddings of another grid are resampled, which is correct. So are patches of another size, which belong
    # to another network; these are restored, so that `fit` raises an error.
    kernels = [value for value in state.values() if value.ndim == 4]
    for key, value in tensors.items():
        alike = [kernel for kernel in kernels if kernel.shape[:2] == value.shape[:2]] if value.ndim == 4 else []
        if alike and all(kernel.shape != value.shape for kernel in alike):
            tensors[key] = alike[0]
    return tensors


def _without_head(body: nn.Module, state: Mapping[str, Tensor], classifier: str | tuple[str, ...]) -> dict[str, Tensor]:
    """Drop layers of the head, and parts that only training needs."""
    own = body.state_dict()
    heads = {layer.split(".")[0] for layer in ([classifier] if isinstance(classifier, str) else classifier)}
    parts = {name.split(".")[0] for name in own} - heads
    return {name: value for name, value in state.items() if name in own or name.split(".")[0] in parts}


def _config(name: str) -> Any:
    from timm.models import get_pretrained_cfg

    return get_pretrained_cfg(name, allow_unregistered=False)
