"""Layouts of weight files: names of tensors in other libraries and in checkpoints, as those of timm and torchvision.

Each map is exact: the converted network computes what the original one computes, apart from the classification layer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping

import torch
from torch import Tensor

State = dict[str, Tensor]

#: Where checkpoints of pretraining keep the encoder, the preferred part first: solo-learn and lightly, MoCo, and
#: lightly-train, whose wrapper of a ResNet holds the layers elsewhere.
PARTS = (
    "backbone.",
    "teacher_backbone.",
    "student_backbone.",
    "encoder.",
    "encoder_q.",
    "base_encoder.",
    *(
        f"{role}embedding_model.wrapped_model.{holder}."
        for role in ("teacher_", "", "student_")
        for holder in ("_model", "_features")
    ),
)
# Prefixes of the names of layers other than heads.
_NETWORK = ("embeddings.", "encoder.", "features.")
# Layers of a torchvision ResNet in the order of its children, as lightly's examples number them.
_CHILDREN = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}


def encoder_of(state: Mapping[str, Tensor], own: Collection[str]) -> State:
    """Return the tensors of the encoder in a checkpoint; all tensors, unchanged, if the file has only an encoder.

    Parameters
    ----------
    state : mapping of str to Tensor
        All tensors of the file.
    own : collection of str
        Names of the network's tensors.
    """
    state = dict(state)
    if any(name in own for name in state):
        return state
    for part in ("", *PARTS):
        inside = {name.removeprefix(part): value for name, value in state.items() if name.startswith(part)}
        for tensors in (inside, _numbered(inside) if "layer1.0.conv1.weight" in own else {}):
            if any(name in own for name in tensors):
                return tensors
    return state


def _numbered(state: State) -> State:
    """Rename the layers of a ResNet in an `nn.Sequential`."""
    parts = {name: name.partition(".") for name in state}
    return {f"{_CHILDREN[first]}.{rest}": state[name] for name, (first, _, rest) in parts.items() if first in _CHILDREN}


def to_timm(state: State) -> State:
    """Rename the tensors of a transformer or a ConvNeXt of transformers or torchvision to those of timm.

    Others are returned as they are, and so are those of relatives with layers that the map does not know.
    """
    for layout, convert in _LAYOUTS:
        marker = next((name for name in state if name == layout or name.endswith(f".{layout}")), None)
        if marker is not None:
            prefix = marker.removesuffix(layout)
            inside = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
            return convert(inside) or state
    return state


def _renamed(state: State, rules: Mapping[str, str]) -> State:
    """Rename by the pattern that matches a whole name, and leave out heads; empty if a layer's name is unknown."""
    tensors: State = {}
    for name, value in state.items():
        rule = next((pattern for pattern in rules if re.fullmatch(pattern, name)), None)
        if rule is not None:
            tensors[re.sub(rule, rules[rule], name)] = value
        elif name.startswith(_NETWORK) and not name.endswith(".position_ids"):
            return {}
    return tensors


def _joined(state: State, names: tuple[str, str, str]) -> State:
    """Join the three projections of each attention to one, whose name has "qkv" in their place."""
    tensors = {name: value for name, value in state.items() if not any(f".{part}." in name for part in names)}
    for name, value in state.items():
        if f".{names[0]}." in name:
            others = [state.get(name.replace(f".{names[0]}.", f".{other}.")) for other in names[1:]]
            three = [value, *(other for other in others if other is not None)]
            tensors[name.replace(f".{names[0]}.", ".qkv.")] = torch.cat(three)
    return tensors


# Of transformers: ViT, ViT-MAE, DeiT, DINO and DINOv2.
_VIT = {
    r"embeddings\.(cls_token|mask_token|register_tokens)": r"\1",
    r"embeddings\.distillation_token": "dist_token",  # the name of a tensor  # nosec B105
    r"embeddings\.position_embeddings": "pos_embed",
    r"embeddings\.patch_embeddings\.projection\.(\w+)": r"patch_embed.proj.\1",
    r"encoder\.layer\.(\d+)\.attention\.attention\.(query|key|value)\.(\w+)": r"blocks.\1.attn.\2.\3",
    r"encoder\.layer\.(\d+)\.attention\.output\.dense\.(\w+)": r"blocks.\1.attn.proj.\2",
    r"encoder\.layer\.(\d+)\.intermediate\.dense\.(\w+)": r"blocks.\1.mlp.fc1.\2",
    r"encoder\.layer\.(\d+)\.output\.dense\.(\w+)": r"blocks.\1.mlp.fc2.\2",
    r"encoder\.layer\.(\d+)\.(?:layernorm_before|norm1)\.(\w+)": r"blocks.\1.norm1.\2",
    r"encoder\.layer\.(\d+)\.(?:layernorm_after|norm2)\.(\w+)": r"blocks.\1.norm2.\2",
    r"encoder\.layer\.(\d+)\.layer_scale(\d)\.lambda1": r"blocks.\1.ls\2.gamma",
    r"encoder\.layer\.(\d+)\.mlp\.(fc\d)\.(\w+)": r"blocks.\1.mlp.\2.\3",
    r"encoder\.layer\.(\d+)\.mlp\.weights_in\.(\w+)": r"blocks.\1.mlp.fc1.\2",
    r"encoder\.layer\.(\d+)\.mlp\.weights_out\.(\w+)": r"blocks.\1.mlp.fc2.\2",
    r"layernorm\.(\w+)": r"norm.\1",
}


def _from_vit(state: State) -> State:
    # timm's own function makes registers and position embeddings those of its network.
    return _joined(_renamed(state, _VIT), ("query", "key", "value"))


# Of transformers: the vision tower of CLIP.
_CLIP = {
    r"embeddings\.class_embedding": "cls_token",
    r"embeddings\.patch_embedding\.weight": "patch_embed.proj.weight",
    r"embeddings\.position_embedding\.weight": "pos_embed",
    r"pre_layrnorm\.(\w+)": r"norm_pre.\1",
    r"post_layernorm\.(\w+)": r"norm.\1",
    r"encoder\.layers\.(\d+)\.self_attn\.([qkv]_proj)\.(\w+)": r"blocks.\1.attn.\2.\3",
    r"encoder\.layers\.(\d+)\.self_attn\.out_proj\.(\w+)": r"blocks.\1.attn.proj.\2",
    r"encoder\.layers\.(\d+)\.layer_norm(\d)\.(\w+)": r"blocks.\1.norm\2.\3",
    r"encoder\.layers\.(\d+)\.mlp\.(fc\d)\.(\w+)": r"blocks.\1.mlp.\2.\3",
}


def _from_clip(state: State) -> State:
    tensors = _joined(_renamed(state, _CLIP), ("q_proj", "k_proj", "v_proj"))
    if not tensors:
        return {}
    for name, shape in (("cls_token", (1, 1, -1)), ("pos_embed", (1, *tensors["pos_embed"].shape))):
        tensors[name] = tensors[name].reshape(shape)
    return tensors


# Of torchvision: ViT. The layers of its perceptron have numbers or, in older files, names.
_TORCHVISION_VIT = {
    r"class_token": "cls_token",  # the name of a tensor  # nosec B105
    r"encoder\.pos_embedding": "pos_embed",
    r"conv_proj\.(\w+)": r"patch_embed.proj.\1",
    r"encoder\.layers\.encoder_layer_(\d+)\.ln_(\d)\.(\w+)": r"blocks.\1.norm\2.\3",
    r"encoder\.layers\.encoder_layer_(\d+)\.self_attention\.in_proj_(\w+)": r"blocks.\1.attn.qkv.\2",
    r"encoder\.layers\.encoder_layer_(\d+)\.self_attention\.out_proj\.(\w+)": r"blocks.\1.attn.proj.\2",
    r"encoder\.layers\.encoder_layer_(\d+)\.mlp\.(?:0|linear_1)\.(\w+)": r"blocks.\1.mlp.fc1.\2",
    r"encoder\.layers\.encoder_layer_(\d+)\.mlp\.(?:3|linear_2)\.(\w+)": r"blocks.\1.mlp.fc2.\2",
    r"encoder\.ln\.(\w+)": r"norm.\1",
}
# Of torchvision: ConvNeXt, whose odd numbers are stages and whose even numbers are the reductions between them.
_TORCHVISION_CONVNEXT = {
    r"features\.0\.(\d)\.(\w+)": r"stem.\1.\2",
    r"features\.(\d)\.(\d+)\.layer_scale": r"stages.\1.blocks.\2.gamma",
    r"features\.(\d)\.(\d+)\.block\.0\.(\w+)": r"stages.\1.blocks.\2.conv_dw.\3",
    r"features\.(\d)\.(\d+)\.block\.2\.(\w+)": r"stages.\1.blocks.\2.norm.\3",
    r"features\.(\d)\.(\d+)\.block\.3\.(\w+)": r"stages.\1.blocks.\2.mlp.fc1.\3",
    r"features\.(\d)\.(\d+)\.block\.5\.(\w+)": r"stages.\1.blocks.\2.mlp.fc2.\3",
    r"features\.([246])\.(\d)\.(\w+)": r"stages.\1.downsample.\2.\3",
    r"classifier\.0\.(\w+)": r"head.norm.\1",
}


def _from_torchvision_vit(state: State) -> State:
    return _renamed(state, _TORCHVISION_VIT)


def _from_torchvision_convnext(state: State) -> State:
    tensors: State = {}
    for name, value in _renamed(state, _TORCHVISION_CONVNEXT).items():
        # Both the stage and the reduction before it belong to one stage of timm.
        name = re.sub(r"^stages\.(\d)", lambda match: f"stages.{int(match[1]) // 2}", name)
        tensors[name] = value.flatten() if name.endswith(".gamma") else value
    return tensors


#: A tensor that only one layout has, and the function that converts it.
_LAYOUTS: tuple[tuple[str, Callable[[State], State]], ...] = (
    ("embeddings.patch_embeddings.projection.weight", _from_vit),
    ("embeddings.class_embedding", _from_clip),
    ("conv_proj.weight", _from_torchvision_vit),
    ("features.1.0.block.5.weight", _from_torchvision_convnext),
)
