"""Reading and writing of network weights."""

from __future__ import annotations

import argparse
import contextlib
import re
import shlex
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import atomic_file, require_file

#: Where checkpoints keep the tensors, one inside another.
WRAPPERS = ("state_dict_ema", "state_dict", "model", "teacher")
#: What to do about a file of another network, in a run and with a published backbone.
OTHER_SETTINGS = "Set the network and the width that the file was created with."
ANOTHER_NETWORK = "Name the network that the file was created for: `initpools list backbones` lists all."


def save_weights(module: nn.Module, path: Path) -> None:
    """Write all parameters and buffers of `module` to a safetensors file at `path`."""
    from safetensors.torch import save

    # Copies, since safetensors rejects tensors that share memory.
    state = {name: value.detach().to("cpu", copy=True).contiguous() for name, value in module.state_dict().items()}
    with atomic_file(path) as stream:
        stream.write(save(state))


def load_weights(module: nn.Module, path: Path) -> None:
    """Read the parameters and buffers of `module` from a safetensors file at `path`.

    Raises
    ------
    UserError
        The file is missing, is not safetensors, or has weights of another network.
    """
    fit(module, read_safetensors(path), path)


def read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a safetensors file, by name, on the CPU.

    Raises
    ------
    UserError
        The file is missing or is not safetensors.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise UserError(f"There is no weights file {path}.", "Check the path, or create the file again.", path)
    try:
        return load_file(path)
    except SafetensorError as error:
        raise UserError(
            f"{path} is not a safetensors file ({error}).", "Download or create the file again.", path
        ) from None


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a weight file of any origin, by name, on the CPU.

    Parameters
    ----------
    path : Path
        A safetensors file, or a file of torch.save with tensors by name, also under one of `WRAPPERS`. Name prefixes
        of data-parallel and compiled networks are removed.

    Raises
    ------
    UserError
        The file is missing, can't be read, or has other content. Pickled code is not run.
    """
    require_file(path, "weights")
    state = read_safetensors(path) if path.suffix == ".safetensors" else _read_pickled(path)
    return {_without_prefix(name): value for name, value in state.items()}


def _without_prefix(name: str) -> str:
    for wrapper in ("_orig_mod.", "module.", "_orig_mod."):
        name = name.removeprefix(wrapper)
    return name


def _read_pickled(path: Path) -> dict[str, torch.Tensor]:
    try:
        # timm's checkpoints have the arguments of the training as a Namespace, which runs no code.
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    # Damaged pickles can raise almost any exception.
    except Exception as error:
        raise _unreadable(path, error) from None
    for wrapper in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in content.items()
    ):
        raise UserError(f"{path} has no tensors by name.", "Save the network's state_dict and name that file.", path)
    return content


def _unreadable(path: Path, error: Exception) -> UserError:
    """Return the error for a file that torch can't read without running the code in it."""
    objects = re.search(r"Unsupported (?:global|class|operand)[^\n]*?(\w+)\.[\w.]+", str(error))
    if objects:
        package, target = objects[1], path.with_name(f"{path.stem}-tensors.pth")
        return UserError(
            f"{path} can't be read as weights: it holds objects of the package {package}, whose reading runs code.",
            f"If you trust the file, convert it where {package} is installed, and name {target}: "
            f"`{_converter(path, target)}`.",
            path,
        )
    # A file that is not a pickle raises KeyError.
    message = "it is not a file of torch.save" if isinstance(error, KeyError) else str(error)
    reason = re.split(r"\n|\. ", message, maxsplit=1)[0].rstrip(".")
    remedy = (
        "Save the network's state_dict, or convert the weights to a .safetensors file, and name that file."
        if "TorchScript" in reason
        else "Download the file again, or name another."
    )
    return UserError(f"{path} can't be read as weights ({reason}).", remedy, path)


def _converter(path: Path, target: Path) -> str:
    """Return a command that saves only the tensors of a file, which has a network or an entry with one."""
    wrapper = next((f"[{name!r}]" for name in WRAPPERS if _has_entry(path, name)), "")
    program = (
        f"import torch; c = torch.load({str(path)!r}, 'cpu', weights_only=False){wrapper}; "
        f"torch.save(getattr(c, 'state_dict', lambda: c)(), {str(target)!r})"
    )
    plain = not set('"$`\\!') & set(program)
    return f'python -c "{program}"' if plain else f"python -c {shlex.quote(program)}"


def _has_entry(path: Path, name: str) -> bool:
    """Whether the pickle in a file of torch.save has a text such as "state_dict"; the pickle is not run."""
    with contextlib.suppress(OSError, zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
        pickles = [archive.read(member) for member in archive.namelist() if member.endswith("/data.pkl")]
        # A text is its length in four bytes, and its characters.
        return any(struct.pack("<cI", b"X", len(name)) + name.encode() in content for content in pickles)
    return False


def fit(module: nn.Module, state: Mapping[str, torch.Tensor], path: Path, remedy: str = OTHER_SETTINGS) -> None:
    """Copy the tensors `state` of a file into `module`; names and shapes must be equal.

    The number of batches of batch norms may be missing, as in old files.

    Raises
    ------
    UserError
        The first layer that differs, and both shapes.
    """
    # Updating the module's own mapping keeps the versions that torch stores with it.
    target = module.state_dict()
    for name, value in target.items():
        if name not in state:
            if name.endswith("num_batches_tracked"):
                continue
            raise UserError(
                f"{path} has no layer {name}, which has the shape {_shape(value)} in the network.", remedy, name
            )
        if state[name].shape != value.shape:
            shapes = f"{name} is {_shape(state[name])} in the file and {_shape(value)} in the network"
            raise UserError(f"{path} does not match the network: {shapes}.", remedy, name)
        target[name] = state[name]
    for name in state:
        if name not in target:
            raise UserError(
                f"{path} has a layer {name} of shape {_shape(state[name])}, which the network does not have.",
                remedy,
                name,
            )
    module.load_state_dict(target)


def _shape(value: torch.Tensor) -> str:
    return "x".join(map(str, value.shape)) or "scalar"
