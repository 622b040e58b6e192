"""HDF5: several arrays, also in groups; needs the extra ``h5``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import require_file
from initpools_cli.datasets.embedding_formats.npz import rescaled
from initpools_cli.datasets.embedding_formats.stored import (
    Part,
    StoredEmbeddings,
    choose_part,
    damaged_error,
    ids_name,
    scale_name,
    steps,
)

KIND = "an HDF5 file"


def read(path: Path, member: str = "", id_column: str = "") -> StoredEmbeddings:
    """Open an array of an HDF5 file, with the ids beside it.

    Raises
    ------
    UserError
        h5py is not installed, the file is damaged, or it has no such array.
    """
    require_file(path, "embeddings")
    h5py = _library(path)
    try:
        with h5py.File(path, "r") as file:
            parts: dict[str, Part] = {}

            def visit(name: str, each: Any) -> None:
                if isinstance(each, h5py.Dataset) and each.shape is not None:
                    text = h5py.check_string_dtype(each.dtype) is not None
                    parts[name] = Part(each.shape, "str" if text else each.dtype.name)

            file.visititems(visit)
            key = choose_part(path, parts, member.strip("/"))
            ids_key, scale_key = ids_name(path, parts, key, id_column), scale_name(parts, key)
            for name in filter(None, (key, ids_key, scale_key)):
                _refuse_elsewhere(path, file[name])
            ids = None
            if ids_key:
                ids = (file[ids_key].asstr() if parts[ids_key].dtype == "str" else file[ids_key])[()].tolist()
            scale = np.asarray(file[scale_key][()]) if scale_key else None
            encoder = file.attrs.get("encoder", "")
            dtype = file[key].dtype.newbyteorder("=")
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise damaged_error(path, KIND, error) from None
    embeddings = StoredEmbeddings(
        parts[key].shape,
        dtype,
        None,
        lambda: _blocks(h5py, path, key),
        ids,
        f"'{ids_key}'" if ids_key else "",
        encoder if isinstance(encoder, str) else "",
    )
    return embeddings if scale is None else rescaled(path, embeddings, scale, scale_key)


def _refuse_elsewhere(path: Path, array: Any) -> None:
    """Raise an error for an array whose values are in other files, which nobody named."""
    if array.external or array.is_virtual:
        raise UserError(
            f"{path} has the values of '{array.name}' in other files.",
            "Save a copy that holds them itself.",
            array.name,
        )


def _library(path: Path) -> Any:
    try:
        import h5py
    except ModuleNotFoundError:
        raise UserError(
            f"{path} needs h5py, which is not installed.", "Run `pip install 'initpools[h5]'`.", path
        ) from None
    return h5py


def _blocks(h5py: Any, path: Path, name: str) -> Iterator[np.ndarray]:
    try:
        with h5py.File(path, "r") as file:
            array = file[name]
            for rows in steps(len(array), array.dtype.itemsize * int(np.prod(array.shape[1:]))):
                yield array[rows]
    except (OSError, ValueError, RuntimeError) as error:
        raise damaged_error(path, KIND, error) from None
