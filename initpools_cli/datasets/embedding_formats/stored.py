"""A file of embeddings that is opened, and the arrays and ids in files that hold several."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.datasets.annotations.rows import ID_NAMES, PATH_NAMES

#: Bytes of embeddings converted at a time.
BLOCK_BYTES = 32 << 20
#: Value of ``--id-column`` for rows without ids.
NO_IDS = "none"
#: Which of several arrays or columns are the embeddings.
USUAL = ("embeddings", "embedding", "features")
#: Columns or arrays that name the images, as in tables of labels, and their plurals; the first one there is used.
NAMES = tuple(spelling for name in (*PATH_NAMES, *ID_NAMES) for spelling in (name, f"{name}s"))
SCALES = ("scale", "scales")

Blocks = Callable[[], Iterator[np.ndarray]]


@dataclass(frozen=True)
class StoredEmbeddings:
    """A file of embeddings.

    Attributes
    ----------
    shape : tuple of int
        (n, d), if the file is valid.
    dtype : dtype
        Of the blocks.
    array : ndarray or None
        The rows, memory-mapped; None if the file can't be mapped.
    blocks : callable
        Returns an iterator over the rows in blocks.
    ids : sequence or None
        The id of each row, strings or integers.
    ids_from : str
        Where they are from, such as "column 'path'".
    encoder : str
        The SHA-256 of the encoder that computed them; empty if unknown.
    note : str
        How stored values become other ones, for the user.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    array: np.ndarray | None
    blocks: Blocks
    ids: Sequence[Any] | None = None
    ids_from: str = ""
    encoder: str = ""
    note: str = ""


@dataclass(frozen=True)
class Part:
    """One of the arrays in a file.

    Attributes
    ----------
    shape : tuple of int
    dtype : str
        As stored, such as "float16" or "bfloat16".
    """

    shape: tuple[int, ...]
    dtype: str

    @property
    def vectors(self) -> bool:
        """Whether it looks like embeddings; labels are integers or a single column."""
        of_vectors = self.dtype.startswith(("float", "bfloat")) or self.dtype in ("int8", "uint8")
        return of_vectors and len(self.shape) == 2 and self.shape[1] > 1

    @property
    def names_rows(self) -> bool:
        """Whether it can be ids."""
        return len(self.shape) == 1 and self.dtype.startswith(("int", "uint", "str", "<U", "object", "|S", ">U"))


def steps(n: int, row_bytes: int) -> Iterator[slice]:
    """Yield slices of rows of at most `BLOCK_BYTES`, at least one row each."""
    step = max(1, BLOCK_BYTES // max(1, row_bytes))
    for start in range(0, n, step):
        yield slice(start, min(n, start + step))


def blocks_of(array: np.ndarray) -> Blocks:
    """Return a function that yields the rows of an array in blocks."""
    return lambda: (array[rows] for rows in steps(len(array), array.itemsize * int(np.prod(array.shape[1:]))))


def choose_part(path: Path, parts: Mapping[str, Part], member: str, kind: str = "array") -> str:
    """Return the name of the embeddings among the arrays of a file.

    Parameters
    ----------
    member : str
        The name from the user; empty: the only array (images, dimensions), or the one with a usual name.
    kind : str
        The word for a part in messages.

    Raises
    ------
    UserError
        There is no such array, or several.
    """
    if member in parts:
        return member
    if member:
        raise UserError(
            f"{path} has no {kind} '{member}', only {listing(parts)}.", f"Name one of them: {path}:NAME.", member
        )
    candidates = [name for name, part in parts.items() if part.vectors and not is_scale(name)]
    candidates = candidates or (list(parts) if len(parts) == 1 else [])
    usual = [name for name in USUAL if name in candidates]
    if len(candidates) == 1 or usual:
        return usual[0] if usual else candidates[0]
    if not candidates:
        raise UserError(
            f"{path} has no {kind} (images, dimensions), only {listing(parts)}.",
            f"Save one row of numbers per image, or name the {kind}: {path}:NAME.",
            path,
        )
    raise UserError(
        f"{path} has {len(candidates)} {kind}s that may be the embeddings: "
        f"{listing({key: parts[key] for key in candidates})}.",
        f"Name one of them: {path}:{candidates[0]}.",
        path,
    )


def listing(parts: Mapping[str, Part]) -> str:
    """Format names, shapes and types of up to 12 arrays."""
    texts = [f"{name} {each.shape} {each.dtype}" for name, each in list(parts.items())[:12]]
    more = [f"{len(parts) - 12} more"] if len(parts) > 12 else []
    return ", ".join([*texts, *more]) or "values of other kinds"


def is_scale(name: str) -> bool:
    """Whether an array of that name holds the scale of another one."""
    last = name.rpartition("/")[2].lower()
    return last in SCALES or last.endswith(tuple(f"_{scale}" for scale in SCALES))


def scale_name(parts: Mapping[str, Part], member: str) -> str:
    """Return the name of the scale of int8 embeddings; empty if there is none."""
    if parts[member].dtype not in ("int8", "uint8"):
        return ""
    folder, slash, _ = member.rpartition("/")
    own = [f"{member}_{scale}" for scale in SCALES]
    return next((name for name in (*own, *(f"{folder}{slash}{each}" for each in SCALES)) if name in parts), "")


def ids_name(path: Path, parts: Mapping[str, Part], member: str, id_column: str) -> str:
    """Return the name of the array of ids beside the embeddings; empty if there is none.

    Raises
    ------
    UserError
        `id_column` is not among them.
    """
    if id_column and id_column in parts:
        return id_column
    if id_column == NO_IDS:
        return ""
    if id_column:
        raise no_id_column(path, id_column, list(parts))
    folder = member.rpartition("/")[0]
    beside = {
        name.rpartition("/")[2].lower(): name
        for name, part in parts.items()
        if name != member and name.rpartition("/")[0] == folder and part.names_rows
    }
    return next((beside[name] for name in NAMES if name in beside), "")


def no_id_column(path: Path, id_column: str, names: Sequence[str]) -> UserError:
    """Return the error for ids that are not in a file."""
    text = ", ".join(names[:20]) + (", …" if len(names) > 20 else "") or "nothing"
    return UserError(
        f"{path} has no '{id_column}' (--id-column), only {text}.",
        "Name one of them, or leave out --id-column.",
        id_column,
    )


def scaled(path: Path, blocks: Blocks, scale: np.ndarray, shape: tuple[int, ...], name: str) -> Blocks:
    """Return a function that yields int8 blocks times their scale, float32.

    Parameters
    ----------
    scale : ndarray
        One number; (d,), one for each dimension; or (n, 1), one for each row.

    Raises
    ------
    UserError
        It has another shape.
    """
    n, d = shape
    if scale.size != 1 and scale.shape not in ((d,), (1, d), (n, 1)):
        raise UserError(
            f"The scale '{name}' of {path} has the shape {scale.shape}, for embeddings {shape}.",
            f"Save one number, ({d},) for one per dimension, or ({n}, 1) for one per row.",
            scale.shape,
        )
    factor = scale.astype(np.float32)

    def scaled_blocks() -> Iterator[np.ndarray]:
        start = 0
        for block in blocks():
            rows = factor[start : start + len(block)] if factor.shape == (n, 1) and n > 1 else factor.reshape(1, -1)
            start += len(block)
            yield block.astype(np.float32) * rows

    return scaled_blocks


def damaged_error(path: Path, kind: str, error: BaseException) -> UserError:
    """Return the error for a file that its library can't read."""
    # Libraries add advice for their developers.
    reason = re.split(r"\n|\. (?=[A-Z])", str(error).strip())[0].rstrip(".")
    why = f": {reason:.200}" if reason else f" ({type(error).__name__})"
    return UserError(f"{path} can't be read as {kind}{why}.", "Save or copy it again.", path)
