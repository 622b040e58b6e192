"""The arrays a strategy may ask for: how each is brought, checked, and cut down to some of the images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from initpools_cli.core.errors import UserError
from initpools_cli.core.registry import Method
from initpools_cli.geometry.chunked import map_blocks
from initpools_cli.geometry.normalize import unit_rows
from initpools_cli.strategies.probabilities import distributions

Array = NDArray[Any]
ROWS = 4096
# Numbers looked at in one step, so that a memory-mapped array of patches passes through in parts.
LOOKED_AT = 2**24
# float32 products of larger numbers overflow.
LARGEST = 1e15


def numbers(name: str, values: ArrayLike) -> Array:
    """`values` as an array of real numbers of the shape that the input has, finite throughout.

    Raises
    ------
    UserError
        Another kind, another number of dimensions, nothing in it, NaN or infinity (the first such rows are named).
    """
    array = np.asanyarray(values)
    if array.dtype.kind not in "fiub":
        raise UserError(f"{name} holds {array.dtype}, not real numbers.", f"Save {name} as float32 or float64.")
    axis = image_axis(name, array.shape)
    assert axis is not None, "image indices are whole numbers"
    others = tuple(other for other in range(array.ndim) if other != axis)

    def unusable(span: slice) -> NDArray[np.int64]:
        block = array[(slice(None),) * axis + (span,)]
        rows: NDArray[np.int64] = np.flatnonzero(~np.isfinite(block).all(axis=others)) + span.start
        return rows

    step = max(1, min(ROWS, LOOKED_AT * array.shape[axis] // array.size))
    bad = np.concatenate(map_blocks(unusable, array.shape[axis], step))
    if len(bad):
        first = ", ".join(map(str, bad[:5])) + (", …" if len(bad) > 5 else "")
        raise UserError(
            f"{name} has NaN or infinity in {len(bad)} of its rows: {first}.",
            "Mend those rows, or leave those images out.",
        )
    return array


def _probs(values: ArrayLike) -> NDArray[np.float64]:
    array = distributions("probs", numbers("probs", values))[0]
    return array.mean(axis=0) if array.ndim == 3 else array


def _several(name: str, one: str, values: ArrayLike) -> NDArray[np.float64]:
    """Predictions of the same images in several ways, (t, n, c); of one there is nothing to compare."""
    array = distributions(name, numbers(name, values))[0]
    if len(array) < 2:
        raise UserError(f"{name} holds one {one}, and one {one} agrees with itself.", "Bring (t, n, c) with t ≥ 2.")
    return array


def _features(values: ArrayLike) -> NDArray[np.float32]:
    return np.ascontiguousarray(numbers("features", values), np.float32)


def _head(values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, np.float64)
    if not np.isfinite(array).all():
        raise UserError("The classifier's last layer holds NaN or infinity.", "Lower its learning rate.")
    return array


def _scores(values: ArrayLike) -> NDArray[np.float64]:
    return np.asarray(numbers("scores", values), np.float64)


def _labels(values: ArrayLike) -> NDArray[np.int64]:
    labels = integers("labels", values)
    if len(labels) and labels.min() < -1:
        at = int(labels.argmin())
        raise UserError(
            f"labels holds {labels[at]} for image {at}.", "Number the classes from 0; -1 means that it is not known."
        )
    return labels


def integers(name: str, values: ArrayLike) -> NDArray[np.int64]:
    """`values` as a 1-D int64 array.

    Raises
    ------
    UserError
        Not 1-D, or not whole numbers.
    """
    array = np.asarray(values)
    if array.size == 0 and array.ndim == 1:
        return np.empty(0, np.int64)
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise UserError(f"{name} is {array.ndim}-D {array.dtype}; it must be 1-D integers.", f"Save {name} as int64.")
    return array.astype(np.int64)


@dataclass(frozen=True)
class Input:
    """One kind of array.

    Attributes
    ----------
    bring : str
        What to do where it is missing.
    check : callable
        Gives the array in the form that strategies get, or raises `UserError`.
    axis : int or None
        Along which its images lie; None where it holds image indices, or is not about images. Probabilities may have
        views before their images.
    dimensions : tuple of int
        How many it may have.
    of_images : bool
        Whether it is about images at all.
    """

    bring: str
    check: Callable[[ArrayLike], Array]
    axis: int | None = 0
    dimensions: tuple[int, ...] = (1,)
    of_images: bool = True


RUN = "or work in a run, where they are made when needed"
LEARNED = "work in a run with `rank` or `al-run`"
TRAINED = "or work in a run with `rank` or `al-run`, which train a classifier for them"
INPUTS: Mapping[str, Input] = {
    "embeddings": Input(
        f"Bring them with --embeddings FILE.npy, {RUN}.", partial(numbers, "embeddings"), dimensions=(2,)
    ),
    "probs": Input(
        f"Bring them with --probs FILE.npy, shaped (n, classes) or (views, n, classes), {TRAINED}.",
        _probs,
        dimensions=(1, 2, 3),
    ),
    "view_probs": Input(
        f"Bring them with --probs FILE.npy, shaped (views, n, classes), {TRAINED}.",
        partial(_several, "view_probs", "view"),
        1,
        (3,),
    ),
    "mc_probs": Input(
        f"Bring them with --probs FILE.npy, shaped (passes, n, classes), {TRAINED}.",
        partial(_several, "mc_probs", "pass"),
        1,
        (3,),
    ),
    "member_probs": Input(
        f"Bring them with --probs FILE.npy, shaped (members, n, classes), {TRAINED}.",
        partial(_several, "member_probs", "member"),
        1,
        (3,),
    ),
    "features": Input(f"A trained classifier has them: {LEARNED}.", _features, dimensions=(2,)),
    "head": Input(f"A trained classifier has it: {LEARNED}.", _head, None, (2,), of_images=False),
    "vaal_scores": Input(f"A discriminator is trained for them: {LEARNED}.", partial(numbers, "vaal_scores")),
    "labels": Input(
        "Bring them with --labels FILE.npy, one class number per image, -1 where it is not known, or work in a run.",
        _labels,
    ),
    "patches": Input(
        "Bring them with --patches FILE.npy, shaped (n, patches, d), or make them in a run: "
        "`initpools embed BACKBONE --set embed.patches=true`.",
        partial(numbers, "patches"),
        dimensions=(3,),
    ),
    "scores": Input("Bring them with --scores FILE.npy, one number per image.", _scores),
    "clusters": Input("Bring them with --clusters FILE.npy, one integer per image.", lambda a: integers("clusters", a)),
    "order": Input("Bring it with --ranking FILE.npy, indices, best first.", lambda a: integers("ranking", a), None),
}

#: Predictions of classes, of which one may be brought as several.
PROBABILITIES = ("probs", "view_probs", "mc_probs", "member_probs")
#: What only a trained classifier gives.
FROM_A_MODEL = frozenset({"probs", "view_probs", "mc_probs", "member_probs", "features", "head", "vaal_scores"})


def rounding_note(method: Method, given: Mapping[str, ArrayLike | None]) -> str:
    """The sentence about probabilities that a strategy reads and that were changed to sum to 1; empty for none."""
    reads = {*method.inputs, *method.optional}
    name = next((each for each in PROBABILITIES if each in reads and given.get(each) is not None), None)
    return "" if name is None else distributions(name, numbers(name, np.asanyarray(given[name])))[1]


def image_axis(name: str, shape: tuple[int, ...]) -> int | None:
    """Along which axis of an input of that shape its images lie; None where it holds image indices.

    Raises
    ------
    UserError
        Another number of dimensions, no image, or nothing of each image.
    """
    asked = INPUTS[name]
    if len(shape) not in asked.dimensions:
        wanted = " or ".join(f"{d}-D" for d in asked.dimensions)
        raise UserError(f"{name} has shape {shape}; it must be {wanted}.", "See `initpools select-pool --help`.")
    axis = 1 if name == "probs" and len(shape) == 3 else asked.axis
    if axis is not None and 0 in shape:
        what = f"{name} of at least one image" if shape[axis] == 0 else "at least one number for each image"
        raise UserError(f"{name} has shape {shape}: there is nothing in it.", f"Bring {what}.")
    return axis


def inputs_of(method: Method, balance: str) -> list[str]:
    """What a strategy and the spreading over clusters ask for, in order."""
    spread = {"kmeans": ["embeddings"], "clusters": ["clusters"]}.get(balance, [])
    return list(dict.fromkeys([*method.inputs, *spread]))


def refuse_missing(strategy: str, needed: Iterable[str], given: Mapping[str, object]) -> None:
    """Refuse to go on where an input is not given.

    Parameters
    ----------
    strategy : str
        As the user names it.

    Raises
    ------
    UserError
        The first input that is missing, and how to bring it.
    """
    missing = next((name for name in needed if given.get(name) is None), None)
    if missing is not None:
        raise UserError(f"'{strategy}' needs {missing}, which is not given.", INPUTS[missing].bring)


def take(name: str, array: Array, rows: NDArray[np.int64]) -> Array:
    """The part of an input that belongs to `rows` (ascending); image indices are renumbered to match."""
    if not INPUTS[name].of_images:
        return array
    axis = INPUTS[name].axis
    if axis is not None:
        return np.take(array, rows, axis=axis)
    inside = array[np.isin(array, rows)]
    return np.searchsorted(rows, inside)


def as_embeddings(array: Array, normalize: bool, name: str = "embeddings") -> NDArray[np.float32]:
    """Checked embeddings as strategies get them: (n, d) float32, C-contiguous, rows of length 1 if `normalize`.

    Parameters
    ----------
    name : str
        What they are to the user, for the error.

    Raises
    ------
    UserError
        Numbers that float32 arithmetic cannot square.
    """
    if not normalize:
        largest = max(map_blocks(lambda span: float(np.abs(array[span], dtype=np.float64).max()), len(array), ROWS))
        if largest > LARGEST:
            raise UserError(f"{name} reach {largest:.3g}, too large to square.", "Scale them below 1e15.")
        return np.ascontiguousarray(array, np.float32)
    return unit_rows(array)
