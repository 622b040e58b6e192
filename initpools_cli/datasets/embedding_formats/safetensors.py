"""safetensors: several tensors, memory-mapped; ids and the encoder in the metadata."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import require_file
from initpools_cli.datasets.embedding_formats.npz import rescaled
from initpools_cli.datasets.embedding_formats.stored import (
    NAMES,
    NO_IDS,
    Part,
    StoredEmbeddings,
    blocks_of,
    choose_part,
    damaged_error,
    ids_name,
    no_id_column,
    scale_name,
    steps,
)

KIND = "a safetensors file"
#: NumPy's names of the types of the format; bfloat16 is decoded here.
TYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
}


def read(path: Path, member: str = "", id_column: str = "") -> StoredEmbeddings:
    """Open a tensor of a safetensors file, with the ids in its metadata or beside it.

    Raises
    ------
    UserError
        The file is damaged, or has no such tensor.
    """
    require_file(path, "embeddings")
    entries, start = _header(path)
    metadata: dict[str, str] = entries.pop("__metadata__", None) or {}
    parts = {
        name: Part(tuple(each["shape"]), TYPES.get(each["dtype"], each["dtype"])) for name, each in entries.items()
    }
    key = choose_part(path, parts, member, "tensor")

    def tensor(name: str) -> np.ndarray:
        shape, dtype = parts[name].shape, parts[name].dtype
        storage = "uint16" if dtype == "bfloat16" else dtype
        if storage not in TYPES.values():
            raise UserError(f"The tensor '{name}' of {path} has the type {dtype}.", "Save it as float32.", dtype)
        if 0 in shape:
            return np.empty(shape, storage)
        return np.memmap(path, storage, "r", start + entries[name]["data_offsets"][0], shape)

    array = tensor(key)
    ids, ids_from = _ids(path, parts, metadata, key, id_column, tensor)
    details: dict[str, Any] = {"ids": ids, "ids_from": ids_from, "encoder": metadata.get("encoder", "")}
    if parts[key].dtype == "bfloat16":
        return from_bfloat16(array, **details)
    # The header of other programs need not have a length that aligns what follows.
    memory_map = array if array.flags.aligned else None
    embeddings = StoredEmbeddings(array.shape, array.dtype, memory_map, blocks_of(array), **details)
    scale = scale_name(parts, key)
    return embeddings if not scale else rescaled(path, embeddings, np.array(tensor(scale)), scale)


def write(path: Path, blocks: Iterator[np.ndarray], shape: tuple[int, ...], metadata: dict[str, str]) -> None:
    """Write rows of float32 as the tensor ``embeddings``, in blocks."""
    size = 4 * int(np.prod(shape, dtype=object))
    header = {
        "__metadata__": metadata,
        "embeddings": {"dtype": "F32", "shape": list(shape), "data_offsets": [0, size]},
    }
    text = json.dumps(header).encode()
    # The data begin at a multiple of 64 bytes.
    text += b" " * (-(8 + len(text)) % 64)
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        for block in blocks:
            stream.write(np.ascontiguousarray(block, "<f4").data)


def from_bfloat16(array: np.ndarray, **details: Any) -> StoredEmbeddings:
    """Return the embeddings whose bits, as uint16, are those of bfloat16: float32, in which they are exact."""

    def blocks() -> Iterator[np.ndarray]:
        for rows in steps(len(array), 4 * int(np.prod(array.shape[1:]))):
            yield (array[rows].astype(np.uint32) << 16).view(np.float32)

    note = "bfloat16 is stored as float32"
    return StoredEmbeddings(array.shape, np.dtype(np.float32), None, blocks, note=note, **details)


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """Return the entries of the header, checked by the library, and where the data begin."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np"):
            pass
    except (SafetensorError, OSError, ValueError) as error:
        raise damaged_error(path, KIND, error) from None
    with path.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        return json.loads(stream.read(length)), 8 + length


def _ids(
    path: Path, parts: dict[str, Part], metadata: dict[str, str], key: str, id_column: str, tensor: Any
) -> tuple[list[Any] | None, str]:
    """Return the ids, from a JSON list in the metadata or from a tensor of integers, and where they are from."""
    names = [id_column] if id_column in metadata else [] if id_column else [n for n in NAMES if n in metadata]
    if names:
        try:
            ids = json.loads(metadata[names[0]])
        except (ValueError, RecursionError):
            ids = None
        if not isinstance(ids, list):
            raise UserError(
                f"The metadata '{names[0]}' of {path} is not a JSON list.",
                "Save json.dumps(list_of_ids), or leave them out with --id-column none.",
                names[0],
            )
        return ids, f"metadata '{names[0]}'"
    if id_column not in ("", NO_IDS, *parts):
        raise no_id_column(path, id_column, [*metadata, *parts])
    name = ids_name(path, parts, key, id_column)
    return (np.array(tensor(name)).tolist(), f"'{name}'") if name else (None, "")
