"""timm's networks without their heads, where timm is installed: DINOv2, CLIP's image towers and a thousand others."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from initpools_cli.core.errors import UserError
from initpools_cli.networks.frozen import SIZE_ERRORS, Backbone, Preprocess, PretrainedWeights, cannot_take
from initpools_cli.networks.weights import fit

# What its modules call the function that renames what other projects' files hold.
_FILTERS = ("checkpoint_filter_fn", "pretrained_filter_fn", "_filter_fn", "_filter_torchvision_pretrained")
# The files of a model on the Hugging Face hub, in the order in which timm looks for them.
_FILES = ("model.safetensors", "pytorch_model.bin")


class Trunk(Backbone):
    """A timm network without a head."""

    def tokens(self, images: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """See `Backbone.tokens`; registers and other extra tokens are left out."""
        body: Any = self.body
        seen = body.forward_features(images)
        if not isinstance(seen, Tensor) or body.num_features not in seen.shape[1:]:
            return None, None
        if seen.ndim == 4:
            last = seen.shape[1] != body.num_features or str(getattr(body, "output_fmt", "NCHW")) == "NHWC"
            return None, (seen if last else seen.permute(0, 2, 3, 1)).flatten(1, 2)
        has_class = isinstance(getattr(body, "cls_token", None), Tensor)
        extra = getattr(body, "num_prefix_tokens", None)
        # Without that number, where the patches begin can't be told of a network that has a class token.
        if seen.ndim != 3 or seen.shape[2] != body.num_features or (extra is None and has_class):
            return None, None
        return seen[:, 0] if has_class and extra else None, seen[:, extra or 0 :]


@cache
def installed() -> bool:
    """Whether timm can be imported."""
    return find_spec("timm") is not None


def names() -> tuple[str, ...]:
    """The networks' names without tags; none where timm is not installed."""
    if not installed():
        return ()
    import timm

    return tuple(timm.list_models())


def names_with_tags() -> list[str]:
    """Every network's name with the tag of every published set of weights."""
    if not installed():
        return []
    import timm

    return list(timm.list_pretrained())


def tags(name: str) -> list[str]:
    """A network's names with the tags of its published weights, the default first."""
    from timm.models import get_arch_pretrained_cfgs

    return list(get_arch_pretrained_cfgs(name))


def has(name: str) -> bool:
    """Whether timm has a network of that name, and the tag if it has one."""
    if not installed():
        return False
    import timm

    return timm.is_model(name.partition(".")[0]) and ("." not in name or name in tags(name))


def tagged(name: str) -> str:
    """The name with the tag of its default weights where it has none."""
    tag = _config(name).tag
    return name if "." in name or not tag else f"{name}.{tag}"


def remark(name: str) -> str:
    """Timm's own notes on the weights."""
    return "; ".join(_config(name).notes or ())


def published(name: str) -> PretrainedWeights:
    """The weights of the name's tag, or its default ones: in the cache of the Hugging Face hub, or in torch's.

    Raises
    ------
    UserError
        timm has published none.
    """
    config = _config(name)
    places = [*_on_hub(config), *_by_address(config)]
    if not places:
        raise UserError(
            f"timm publishes no weights of {name}.", "Give your own with --weights FILE, or take another network."
        )
    return next((place for place in places if place.cached), places[0])


def _on_hub(config: Any) -> list[PretrainedWeights]:
    from huggingface_hub import constants, try_to_load_from_cache

    if not config.hf_hub_id:
        return []
    model, _, revision = str(config.hf_hub_id).partition("@")
    files = (config.hf_hub_filename,) if config.hf_hub_filename else _FILES
    cached = [try_to_load_from_cache(model, file, revision=revision or None) for file in files]
    return [
        PretrainedWeights(
            next((Path(file) for file in cached if isinstance(file, str)), None),
            Path(constants.HF_HUB_CACHE) / f"models--{model.replace('/', '--')}",
            f"https://huggingface.co/{model}/resolve/{revision or 'main'}/{files[0]}",
            f"hf download {model} {files[0]}",
        )
    ]


def _by_address(config: Any) -> list[PretrainedWeights]:
    # Arrays of JAX, as Google published its ViTs, are on the hub as torch's tensors.
    if not isinstance(config.url, str) or not config.url or config.url.endswith(".npz"):
        return []
    file = Path(torch.hub.get_dir()) / "checkpoints" / config.url.rsplit("/", 1)[-1]
    return [PretrainedWeights(file if file.is_file() else None, file, config.url)]


def load(name: str, state: Mapping[str, Tensor], weights: Path, size: int, pooling: str) -> tuple[Backbone, Preprocess]:
    """See `backbones.load_backbone`; `state` is what the file holds."""
    from timm.data import create_transform, resolve_model_data_config

    body = _build(name, size)
    fit(body, _without_head(body, _renamed(name, body, state), _config(name).classifier or ()), weights)
    config = resolve_model_data_config(body, args={"img_size": size} if size else None)
    channels, height, width = config["input_size"]
    if channels not in (1, 3):
        raise UserError(f"{name} looks at images of {channels} channels.", "Take a network for gray or color images.")
    # Scaling is left to `Preprocess.scale`, for a whole batch on the device.
    cut = create_transform(**config, is_training=False, normalize=False)
    preprocess = Preprocess(cut, tuple(config["mean"]), tuple(config["std"]))
    backbone = Trunk(body)
    backbone.prepare(torch.zeros(1, channels, height, width), pooling, name)
    return backbone, preprocess


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
            f"embed.size = {size} is not a multiple of the patches of {name}, {patch[0]} pixels.",
            f"Set it to {size // patch[0] * patch[0] or patch[0]} or {(size // patch[0] + 1) * patch[0]}.",
        )
    return body


def _renamed(name: str, body: nn.Module, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Names and shapes as the network has them, by the function timm has for its files and for those of others."""
    from timm.models import model_entrypoint

    module = sys.modules[model_entrypoint(name.partition(".")[0]).__module__]
    rename: Callable[..., dict[str, Tensor]] | None = next(
        (getattr(module, filter_) for filter_ in _FILTERS if hasattr(module, filter_)), None
    )
    if rename is None:
        return state
    try:
        renamed = rename(dict(state), body)
    # It counts on names and shapes, and files of other networks make it stumble in many ways.
    except Exception:
        return state
    # Position embeddings of another grid are resampled, as they should be. So are patches of another size, which make
    # another network; those are put back for `fit` to refuse.
    kernels = [value for value in state.values() if value.ndim == 4]
    for key, value in renamed.items():
        alike = [kernel for kernel in kernels if kernel.shape[:2] == value.shape[:2]] if value.ndim == 4 else []
        if alike and all(kernel.shape != value.shape for kernel in alike):
            renamed[key] = alike[0]
    return renamed


def _without_head(body: nn.Module, state: Mapping[str, Tensor], classifier: str | tuple[str, ...]) -> dict[str, Tensor]:
    """Without what only classifying and training need: parts that the body has not at all, and its head's layers."""
    own = body.state_dict()
    heads = {layer.split(".")[0] for layer in ([classifier] if isinstance(classifier, str) else classifier)}
    parts = {name.split(".")[0] for name in own} - heads
    return {name: value for name, value in state.items() if name in own or name.split(".")[0] in parts}


def _config(name: str) -> Any:
    from timm.models import get_pretrained_cfg

    return get_pretrained_cfg(name, allow_unregistered=False)
