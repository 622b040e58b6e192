"""Weights in and out of safetensors files, and the fit between a network and what a file holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import atomic_file


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
