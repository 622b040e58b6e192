"""Weights in and out of safetensors files, and the fit between a network and what a file holds."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import atomic_file, require_file


def save_weights(module: nn.Module, path: Path) -> None:
    """Write all parameters and buffers of `module` to a safetensors file at `path`."""
    from safetensors.torch import save

    # A copy each: the file must not follow later training, and refuses tensors that share memory.
    state = {name: value.detach().to("cpu", copy=True).contiguous() for name, value in module.state_dict().items()}
    with atomic_file(path) as stream:
        stream.write(save(state))


def load_weights(module: nn.Module, path: Path) -> None:
    """Read the parameters and buffers of `module` from a safetensors file at `path`.

    Raises
    ------
    UserError
        The file is missing, is not safetensors, or holds another network; the first layer that differs is named.
    """
    fit(module, read_safetensors(path), path)


def read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file, by name, on the CPU.

    Raises
    ------
    UserError
        The file is missing or is not safetensors.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise UserError(f"There is no weights file {path}.", "Check the path, or make the file again.")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise UserError(f"{path} is not a safetensors file ({error}).", "Fetch or make the file again.") from None


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file that others made, by name, on the CPU.

    Parameters
    ----------
    path : Path
        A safetensors file, or what torch.save wrote: tensors by name, also under "state_dict_ema", "state_dict" or
        "model". What data-parallel and compiled networks put in front of names is taken off.

    Raises
    ------
    UserError
        The file is missing, can't be read, or holds something else. What is pickled in it is not run.
    """
    require_file(path, "weights")
    state = read_safetensors(path) if path.suffix == ".safetensors" else _read_pickled(path)
    return {_plain(name): value for name, value in state.items()}


def _plain(name: str) -> str:
    for wrapper in ("_orig_mod.", "module.", "_orig_mod."):
        name = name.removeprefix(wrapper)
    return name


def _read_pickled(path: Path) -> dict[str, torch.Tensor]:
    try:
        # timm's checkpoints hold the arguments of the training; a Namespace runs nothing.
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    # A damaged pickle ends in almost any error.
    except Exception as error:
        # What is no pickle at all ends in a KeyError of a byte.
        told = "it is not what torch.save writes" if isinstance(error, KeyError) else str(error)
        reason = re.split(r"\n|\. ", told, maxsplit=1)[0].rstrip(".")
        remedy = (
            "Give the same weights as a .safetensors file, or save the network's state_dict and name that file."
            if "TorchScript" in reason
            else "Fetch the file again, or name another."
        )
        raise UserError(f"{path} cannot be read as weights ({reason}).", remedy) from None
    for wrapper in ("state_dict_ema", "state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in content.items()
    ):
        raise UserError(f"{path} holds no tensors by name.", "Save the network's state_dict and name that file.")
    return content


def fit(module: nn.Module, state: Mapping[str, torch.Tensor], path: Path) -> None:
    """Copy `state`, as read from `path`, into `module`: every tensor must be there, in the right shape, and no other.

    Batch norm's count of batches may be missing, as it is in files from before it existed.

    Raises
    ------
    UserError
        The first layer that differs, and both shapes.
    """
    remedy = "Name the network and the width that the file was made with."
    # Filling the module's own mapping keeps the layout versions that torch stores beside the tensors.
    target = module.state_dict()
    for name, value in target.items():
        if name not in state:
            if name.endswith("num_batches_tracked"):
                continue
            raise UserError(f"{path} has no layer {name}, which the network has as {_shape(value)}.", remedy)
        if state[name].shape != value.shape:
            shapes = f"{name} is {_shape(state[name])} in the file and {_shape(value)} in the network"
            raise UserError(f"{path} does not fit: {shapes}.", remedy)
        target[name] = state[name]
    for name in state:
        if name not in target:
            raise UserError(f"{path} has a layer {name} {_shape(state[name])} that the network has not.", remedy)
    module.load_state_dict(target)


def _shape(value: torch.Tensor) -> str:
    return "x".join(map(str, value.shape)) or "scalar"
