"""PyTorch's .pt and .pth: a tensor, or a dictionary of tensors and lists; never other Python objects."""

from __future__ import annotations

import pickle  # for the name of an exception  # nosec B403
from pathlib import Path
from typing import Any

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import require_file
from initpools_cli.datasets.embedding_formats.npz import rescaled
from initpools_cli.datasets.embedding_formats.safetensors import from_bfloat16
from initpools_cli.datasets.embedding_formats.stored import (
    Part,
    StoredEmbeddings,
    blocks_of,
    choose_part,
    damaged_error,
    ids_name,
    scale_name,
)

KIND = "a file of torch.save"
#: The name of a tensor that is not in a dictionary.
ALONE = "tensor"


def read(path: Path, member: str = "", id_column: str = "") -> StoredEmbeddings:
    """Open a tensor of a file of torch.save, with the ids beside it.

    Raises
    ------
    UserError
        The file is damaged, has objects that need unpickling, or has no such tensor.
    """
    import torch

    require_file(path, "embeddings")
    content = _load(path)
    values = content if isinstance(content, dict) else {ALONE: content}
    values = {str(name): value for name, value in values.items()}
    parts = {name: part for name, value in values.items() if (part := _part(value)) is not None}
    key = choose_part(path, parts, member, "tensor")
    if not isinstance(values[key], torch.Tensor):
        raise UserError(f"'{key}' of {path} is a list, not a tensor.", f"Name another: {path}:NAME.", key)
    ids, scale = ids_name(path, parts, key, id_column), scale_name(parts, key)
    encoder = values.get("encoder", "")
    details: dict[str, Any] = {
        "ids": None if not ids else _as_list(values[ids]),
        "ids_from": f"'{ids}'" if ids else "",
        "encoder": encoder if isinstance(encoder, str) else "",
    }
    tensor = values[key].detach()
    if tensor.dtype == torch.bfloat16 and parts[key].dtype == "bfloat16" and tensor.device.type == "cpu":
        return from_bfloat16(tensor.view(torch.int16).numpy().view(np.uint16), **details)
    array = _array(path, key, tensor)
    # torch does not say where in the file a tensor is, so that others can't map it.
    embeddings = StoredEmbeddings(array.shape, array.dtype, None, blocks_of(array), **details)
    return embeddings if not scale else rescaled(path, embeddings, _array(path, scale, values[scale]), scale)


def _array(path: Path, name: str, value: Any) -> np.ndarray:
    """Return the values of a tensor, or of a list of numbers.

    Raises
    ------
    UserError
        NumPy has no such type, or the tensor is sparse, quantized or without values.
    """
    import torch

    try:
        return np.asarray(value.detach().numpy() if isinstance(value, torch.Tensor) else value)
    except (TypeError, RuntimeError):
        kind = str(value.dtype).removeprefix("torch.")
        raise UserError(
            f"The tensor '{name}' of {path} has the type {kind}, on {value.device}, {value.layout}, which can't be "
            "read.",
            "Save it as a dense tensor of float32 on the CPU.",
            kind,
        ) from None


def _load(path: Path) -> Any:
    """Return the content, with tensors that are read from the file as needed, except in old files."""
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError:
        raise UserError(
            f"{path} contains Python objects other than tensors, numbers, strings, lists and dictionaries, which could "
            "run code and are never loaded.",
            "Save a tensor, or a dictionary of tensors and lists of ids, with torch.save.",
            path,
        ) from None
    except RuntimeError as error:
        if "_use_new_zipfile_serialization" not in str(error):
            raise damaged_error(path, KIND, error) from None
    # What torch raises for damaged files is not documented.
    except Exception as error:
        raise damaged_error(path, KIND, error) from None
    # The format of torch before 1.6 can't be mapped.
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise damaged_error(path, KIND, error) from None


def _part(value: Any) -> Part | None:
    """Return shape and type of a tensor or list; None for other values."""
    import torch

    if isinstance(value, torch.Tensor):
        dense = value.layout == torch.strided and not value.is_quantized
        return Part(tuple(value.shape), str(value.dtype).removeprefix("torch.") if dense else "sparse or quantized")
    if isinstance(value, list | tuple) and value and all(isinstance(each, str) for each in value):
        return Part((len(value),), "str")
    if isinstance(value, list | tuple) and value and all(type(each) is int for each in value):
        return Part((len(value),), "int")
    return None


def _as_list(values: Any) -> list[Any]:
    return values.tolist() if hasattr(values, "tolist") else list(values)
