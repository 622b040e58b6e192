"""NumPy's .npz: several arrays, memory-mapped if they are neither compressed nor misaligned."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from initpools_cli.core.capacity import require_memory
from initpools_cli.core.errors import UserError
from initpools_cli.core.files import require_file
from initpools_cli.datasets.embedding_formats.stored import (
    Part,
    StoredEmbeddings,
    blocks_of,
    choose_part,
    damaged_error,
    ids_name,
    scale_name,
    scaled,
    steps,
)

KIND = "an .npz archive"
#: What a damaged archive raises, of zipfile and NumPy.
ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError)
#: The fixed part of the header before each member of a zip archive; the last two numbers are lengths that follow.
LOCAL = struct.Struct("<4s5H3I2H")


def read(path: Path, member: str = "", id_column: str = "") -> StoredEmbeddings:
    """Open an array of a .npz file, with the ids beside it.

    Raises
    ------
    UserError
        The file is damaged, or has no such array.
    """
    require_file(path, "embeddings")
    try:
        with zipfile.ZipFile(path) as archive:
            infos = {each.filename.removesuffix(".npy"): each for each in archive.infolist()}
            parts = _parts(archive)
            key = choose_part(path, parts, member)
            _refuse_objects(path, key, parts[key])
            array = _mapped(path, archive, infos[key])
            ids_key, scale_key = ids_name(path, parts, key, id_column), scale_name(parts, key)
            ids = _whole(path, archive, infos[ids_key], parts[ids_key]) if ids_key else None
            scale = _whole(path, archive, infos[scale_key], parts[scale_key]) if scale_key else None
            encoder = str(_whole(path, archive, infos["encoder"], parts["encoder"])) if "encoder" in parts else ""
    except ERRORS as error:
        raise damaged_error(path, KIND, error) from None
    part = parts[key]
    blocks = blocks_of(array) if array is not None else lambda: _streamed(path, infos[key].filename)
    embeddings = StoredEmbeddings(
        part.shape,
        np.dtype(part.dtype),
        array,
        blocks,
        None if ids is None else ids.tolist(),
        f"'{ids_key}'" if ids_key else "",
        encoder,
    )
    return embeddings if scale is None else rescaled(path, embeddings, scale, scale_key)


def embeddings_in(path: Path) -> str:
    """Return the name of the embeddings in a .npz file.

    Raises
    ------
    UserError
        The file is damaged, or has no embeddings, or several.
    """
    require_file(path, "embeddings")
    try:
        with zipfile.ZipFile(path) as archive:
            return choose_part(path, _parts(archive), "")
    except ERRORS as error:
        raise damaged_error(path, KIND, error) from None


def rescaled(path: Path, embeddings: StoredEmbeddings, scale: np.ndarray, name: str) -> StoredEmbeddings:
    """Return int8 embeddings times their scale, float32, which can't be memory-mapped."""
    if len(embeddings.shape) != 2:
        return embeddings
    return StoredEmbeddings(
        embeddings.shape,
        np.dtype(np.float32),
        None,
        scaled(path, embeddings.blocks, scale, embeddings.shape, name),
        embeddings.ids,
        embeddings.ids_from,
        embeddings.encoder,
        f"{embeddings.dtype} times '{name}' is float32",
    )


def _parts(archive: zipfile.ZipFile) -> dict[str, Part]:
    """Return shape and type of every array."""
    parts = {}
    for info in archive.infolist():
        if info.filename.endswith(".npy"):
            with archive.open(info) as stream:
                shape, _, dtype = _header(stream)
            parts[info.filename.removesuffix(".npy")] = Part(shape, dtype.str if dtype.kind in "US" else dtype.name)
    return parts


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(stream)
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        shape, fortran, dtype = reader(stream)
    except ValueError:
        raise
    # NumPy evaluates the header as Python, so a damaged one can raise almost any error.
    except Exception as error:
        raise ValueError(f"a header is damaged ({type(error).__name__})") from None
    return shape, fortran, dtype


def _refuse_objects(path: Path, name: str, part: Part) -> None:
    if part.dtype == "object":
        raise UserError(
            f"{path} contains pickled Python objects ('{name}'), which could run code and are never loaded.",
            "Save it again as an array of numbers or strings: np.array(values, dtype=str).",
            name,
        )


def _mapped(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray | None:
    """Return a member as a memory map; None if it is compressed, encrypted, empty or misaligned."""
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        return None
    with path.open("rb") as stream:
        stream.seek(info.header_offset)
        *_, name, extra = LOCAL.unpack(stream.read(LOCAL.size))
        stream.seek(name + extra, 1)
        start = stream.tell()
        shape, fortran, dtype = _header(stream)
        at = stream.tell()
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if dtype.hasobject or not size or at % dtype.alignment:
        return None
    if at - start + size != info.file_size:
        raise ValueError(f"{info.filename} has another length than its header states")
    return np.memmap(path, dtype, "r", at, shape, "F" if fortran else "C")


def _whole(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo, part: Part) -> np.ndarray:
    _refuse_objects(path, info.filename.removesuffix(".npy"), part)
    with archive.open(info) as stream:
        shape, _, dtype = _header(stream)
        size = int(np.prod(shape, dtype=object)) * dtype.itemsize
        # Memory is only taken for what the archive has.
        if min(shape, default=0) < 0 or stream.tell() + size != info.file_size:
            raise ValueError(f"{info.filename} has another length than its header states")
    require_memory(size, f"The array {info.filename} of {path} takes", "Leave it out of the archive.")
    with archive.open(info) as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)


def _streamed(path: Path, name: str) -> Iterator[np.ndarray]:
    """Yield the rows of a member in blocks as they are unpacked; columns first, it is unpacked as a whole."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(name) as stream:
            shape, fortran, dtype = _header(stream)
            row = dtype.itemsize * int(np.prod(shape[1:]))
            if fortran:
                with archive.open(name) as again:
                    whole = np.lib.format.read_array(again, allow_pickle=False)
                yield from blocks_of(whole)()
                return
            for rows in steps(shape[0], row):
                content = stream.read((rows.stop - rows.start) * row)
                yield np.frombuffer(content, dtype).reshape(rows.stop - rows.start, *shape[1:])
            # Reading to the end verifies the archive's checksum.
            stream.read()
    except ERRORS as error:
        raise damaged_error(path, KIND, error) from None
