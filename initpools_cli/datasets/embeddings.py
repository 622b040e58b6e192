"""Files of embeddings that users bring: one row per image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import read_array
from initpools_cli.datasets.cache import in_blocks

#: Readers by file suffix; each maps a path and the option that names it to an array.
READERS: dict[str, Callable[[Path, str], np.ndarray]] = {".npy": partial(read_array, mapped=True)}
#: Suffixes of files that may hold embeddings too, but that are not read.
UNREAD = (
    ".npz",
    ".csv",
    ".tsv",
    ".txt",
    ".json",
    ".parquet",
    ".feather",
    ".h5",
    ".hdf5",
    ".pt",
    ".pth",
    ".pkl",
    ".mat",
)
#: How such a file is saved.
LAYOUT = "Save an array with one row per image, (images, dimensions), with numpy.save"


def is_embeddings(name: str) -> bool:
    """Whether a name is the path of a file of embeddings, judged by its suffix."""
    path = Path(name)
    return path.suffix.lower() in READERS and not path.is_dir()


def refuse_other_file(name: str) -> None:
    """Raise an error if a source of embeddings is a file that is not read.

    Raises
    ------
    UserError
        It is a folder, or a file of another format.
    """
    path = Path(name)
    unread = path.suffix.lower() in UNREAD
    if path.is_dir() and (unread or path.suffix.lower() in READERS or "/" in name or name.startswith(".")):
        raise UserError(f"{name} is a folder, not a file of embeddings.", f"{LAYOUT}, and name that file.", name)
    if unread and path.name != path.suffix:
        there = f"{name} is not a {', '.join(READERS)} file." if path.is_file() else f"There is no file {name}."
        raise UserError(there, f"{LAYOUT}: `initpools embed {path.stem}.npy`.", name)


def read_embeddings(path: Path) -> np.ndarray:
    """Read a file of embeddings.

    Returns
    -------
    ndarray of shape (n, d)
        Of a boolean, integer or floating type, memory-mapped; not checked for values that are not finite.

    Raises
    ------
    UserError
        The file is missing or damaged, or is not a numeric array of at least one row and column.
    """
    array = READERS[path.suffix.lower()](path, "embeddings")
    if array.dtype.kind not in "biuf":
        raise UserError(
            f"{path} has the type {array.dtype}, not a numeric one.", f"{LAYOUT}, best float32.", array.dtype
        )
    if array.ndim != 2 or 0 in array.shape:
        raise UserError(f"{path} has the shape {array.shape}, not (images, dimensions).", _reshaped(array), array.shape)
    return array


def _reshaped(array: np.ndarray) -> str:
    if array.ndim == 3:
        return f"{LAYOUT}, such as the mean over patches; `select-pool freesel --patches FILE.npy` reads all patches."
    return f"{LAYOUT}."


def float32_blocks(
    path: Path, array: np.ndarray, rows: np.ndarray, places: Callable[[int], str]
) -> Iterator[np.ndarray]:
    """Yield rows of embeddings as float32, in blocks.

    Parameters
    ----------
    path : Path
        The file, for messages.
    array : ndarray of shape (n, d)
        From `read_embeddings`.
    rows : ndarray of shape (m,), int64
    places : callable
        Describes a row for messages.

    Raises
    ------
    UserError
        A value is not finite, or too large for float32.
    """
    start = 0
    for block in in_blocks(array, rows):
        with np.errstate(over="ignore"):
            converted = np.ascontiguousarray(block, dtype=np.float32)
        wrong = np.flatnonzero(~np.isfinite(converted).all(axis=1))
        if len(wrong):
            values = block[wrong[0]]
            value = values[~np.isfinite(converted[wrong[0]])][0]
            why = "which is too large for float32" if np.isfinite(value) else "which is not a finite number"
            raise UserError(
                f"{path} contains {value} in {places(start + int(wrong[0]))}, {why}.",
                "Compute the embeddings of that image again, or leave it out of the data set.",
                value,
            )
        start += len(block)
        yield converted


def named_rows(names: Sequence[str], rows: np.ndarray) -> Callable[[int], str]:
    """Return a function that describes row i of a selection of rows, with its name if it has one."""

    def place(number: int) -> str:
        row = int(rows[number])
        return f"row {row} ({names[number]})" if names[number] else f"row {row}"

    return place
