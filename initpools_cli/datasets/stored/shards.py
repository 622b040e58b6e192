"""Images in shards, read like the files of a folder."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

#: Reads the bytes of an image from: the shard, its start (a row or an offset), its number of bytes.
Read: TypeAlias = Callable[[Path, int, int], bytes]


@dataclass(frozen=True)
class Shard:
    """The images of one shard.

    Attributes
    ----------
    file : Path
    name : str
        Its path below the folder of the data set, with ``/``.
    images : list of str
        A distinct name for each image.
    starts, sizes : ndarray of shape (n,), int64
        The row or the offset of each image, and its number of bytes.
    labels : ndarray of shape (n,)
        Numbers, or strings; NaN or the empty string for no label. Empty if the shard has none.
    """

    file: Path
    name: str
    images: list[str]
    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]
    labels: np.ndarray

    @property
    def paths(self) -> list[str]:
        """The path of each image: that of the shard and its name."""
        return [f"{self.name}/{image}" for image in self.images]


@dataclass(frozen=True)
class StoredImage:
    """An image in a shard, with the methods of a `Path` that reading needs.

    Attributes
    ----------
    path : str
        Its path in ``items.csv``.
    shard : Path or None
        None if no shard has it.
    """

    path: str
    shard: Path | None
    start: int
    nbytes: int
    read: Read

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    def read_bytes(self) -> bytes:
        """Read the encoded image.

        Raises
        ------
        OSError
            The shard is missing or cut off, or has no such image.
        """
        if self.shard is None:
            raise FileNotFoundError(f"no such image: {self.path}")
        return self.read(self.shard, self.start, self.nbytes)

    def open(self, mode: str = "rb") -> BinaryIO:
        """Open the encoded image for reading bytes."""
        return io.BytesIO(self.read_bytes())

    def is_file(self) -> bool:
        """Whether a shard has the image."""
        return self.shard is not None and self.shard.is_file()

    def __str__(self) -> str:
        """Return the path."""
        return self.path


class Shards:
    """Images in shards; ``shards / path`` is a `StoredImage`, as ``folder / path`` is a file.

    Parameters
    ----------
    name : str
        The file, folder or pattern that the user named.
    folder : Path
        The folder that the names of shards are relative to.
    shards : sequence of Shard
    read : callable
    """

    def __init__(self, name: str, folder: Path, shards: Sequence[Shard], read: Read) -> None:
        self.shards = shards
        self._name, self._folder, self._read = name, folder, read
        self._places = {
            path: (number, row) for number, shard in enumerate(shards) for row, path in enumerate(shard.paths)
        }

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of all images, in the order of the shards."""
        return tuple(self._places)

    def resolve(self) -> Path:
        """Return the absolute path of the folder, which paths in label files may start with."""
        return self._folder.resolve()

    def __truediv__(self, path: str) -> StoredImage:
        """Return the image of a path."""
        if path not in self._places:
            return StoredImage(path, None, 0, 0, self._read)
        number, row = self._places[path]
        shard = self.shards[number]
        return StoredImage(path, shard.file, int(shard.starts[row]), int(shard.sizes[row]), self._read)

    def __str__(self) -> str:
        """Return what the user named."""
        return self._name


#: Where images are: a folder of files, or shards; and one of them.
Root: TypeAlias = Path | Shards
OriginalFile: TypeAlias = Path | StoredImage


def nbytes_of(file: OriginalFile) -> int:
    """Return the size of an encoded image."""
    return file.nbytes if isinstance(file, StoredImage) else file.stat().st_size


def is_readable(file: OriginalFile) -> bool:
    """Whether an image is there and may be read."""
    place = file.shard if isinstance(file, StoredImage) else file
    return place is not None and os.access(place, os.R_OK)
