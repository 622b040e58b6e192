"""Input arrays of strategies: how to pass them, validation, and restriction to some images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from initpools_cli.core.errors import UserError
from initpools_cli.core.registry import Method
from initpools_cli.geometry.chunked import map_blocks
from initpools_cli.geometry.rows import Rows, map_rows
from initpools_cli.strategies.embeddings import ROWS, Array, in_file, rows_of
from initpools_cli.strategies.groups import group_codes
from initpools_cli.strategies.probabilities import BELOW, distributions

# Numbers per block, so that memory-mapped arrays are read in parts.
BLOCK = 2**24


def numbers(name: str, values: ArrayLike) -> Array:
    """Validate the input `name`: a nonempty array of finite real numbers with the right number of dimensions.

    Raises
    ------
    UserError
        If the dtype, the number of dimensions or a value is wrong, or the array is empty.
    """
    array = cast(Array, values) if isinstance(values, Rows) else np.asanyarray(values)
    if array.dtype.kind not in "fiub":
        raise UserError(
            f"{name} has dtype {array.dtype}, not real numbers.", f"Save {name} as float32 or float64.", array.dtype
        )
    axis = image_axis(name, array.shape)
    assert axis is not None, "image indices are whole numbers"
    others = tuple(other for other in range(array.ndim) if other != axis)

    step = max(1, min(ROWS, BLOCK * array.shape[axis] // array.size))
    if name == "embeddings" and in_file(array):
        array = cast(Array, rows_of(array))
        finite = map_rows(_are_finite, array, block=step)
    else:
        finite = map_blocks(
            lambda span: np.asarray(np.isfinite(array[(slice(None),) * axis + (span,)]).all(axis=others)),
            array.shape[axis],
            step,
        )
    bad = np.flatnonzero(~np.concatenate(finite))
    if len(bad):
        first = ", ".join(map(str, bad[:5])) + (", …" if len(bad) > 5 else "")
        raise UserError(
            f"{name} has NaN or infinity in {len(bad)} of its rows: {first}.",
            "Correct these rows, or exclude these images.",
            first,
        )
    return array


def _are_finite(rows: Array) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(rows).all(axis=1))


def _probs(values: ArrayLike) -> NDArray[np.float64]:
    array = distributions("probs", numbers("probs", values))[0]
    return array.mean(axis=0) if array.ndim == 3 else array


def _several(name: str, one: str, values: ArrayLike) -> NDArray[np.float64]:
    """Validate several predictions of the same images, (t, n, c) with t ≥ 2."""
    array = distributions(name, numbers(name, values))[0]
    if len(array) < 2:
        raise UserError(
            f"{name} has 1 {one}, but at least 2 are needed.", "Pass an array of shape (t, n, c) with t ≥ 2.", 1
        )
    return array


def _label_probs(values: ArrayLike, name: str = "label_probs") -> NDArray[np.float64]:
    """Validate the probabilities of several labels, each in [0, 1] up to rounding."""
    array = np.asarray(numbers(name, values), np.float64)
    outside = (array < BELOW) | (array > 1 - BELOW)
    if outside.any():
        first = array[outside][0]
        raise UserError(
            f"{name} must be probabilities of labels, but has the value {first:.4g}, which is not in [0, 1].",
            "If these are logits, apply the sigmoid 1 / (1 + exp(-x)) first.",
            f"{first:.4g}",
        )
    probs: NDArray[np.float64] = array.clip(0, 1)
    return probs


def _several_label_probs(values: ArrayLike) -> NDArray[np.float64]:
    array = _label_probs(values, "mc_label_probs")
    if len(array) < 2:
        raise UserError(
            "mc_label_probs has 1 pass, but at least 2 are needed.", "Pass an array of shape (t, n, c) with t ≥ 2.", 1
        )
    return array


def _features(values: ArrayLike) -> NDArray[np.float32]:
    return np.ascontiguousarray(numbers("features", values), np.float32)


def _query_set(values: ArrayLike) -> Array:
    array = np.asanyarray(values)
    if array.dtype.kind not in "fiub":
        raise UserError(
            f"query_set has dtype {array.dtype}, not real numbers.", "Save it as float32 or float64.", array.dtype
        )
    if array.ndim != 2:
        raise UserError(
            f"query_set has shape {array.shape}; it must be embeddings (q, d).",
            "Pass the embeddings of the images that others should be like.",
            array.shape,
        )
    if not array.size:
        raise UserError("query_set is empty: it has 0 rows.", "Name at least one image in the query set.", 0)
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if len(bad):
        raise UserError(
            f"query_set has NaN or infinity in {len(bad)} of its rows, the first {bad[0]}.",
            "Correct these rows, or leave them out.",
            bad[0],
        )
    return array


def _head(values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, np.float64)
    if not np.isfinite(array).all():
        raise UserError(
            "The last layer of the classifier has NaN or infinity.",
            "Use a lower learning rate for the classifier.",
            "NaN or infinity",
        )
    return array


def _calibration(values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, np.float64)
    if array.shape != (1,) or not np.isfinite(array).all() or not array[0] > 0:
        raise UserError(
            f"calibration must be one temperature above 0, got {array}.", "Pass an array of shape (1,).", str(array)
        )
    return array


def _scores(values: ArrayLike) -> NDArray[np.float64]:
    return np.asarray(numbers("scores", values), np.float64)


def _labels(values: ArrayLike) -> NDArray[np.int64]:
    labels = integers("labels", values)
    if len(labels) and labels.min() < -1:
        at = int(labels.argmin())
        raise UserError(
            f"labels has class number {labels[at]} for image {at}.",
            "Number the classes from 0, and use -1 for unknown.",
            labels[at],
        )
    return labels


def integers(name: str, values: ArrayLike) -> NDArray[np.int64]:
    """Convert `values` to a 1-D int64 array.

    Raises
    ------
    UserError
        If they are not 1-D, or not integers.
    """
    array = np.asarray(values)
    if array.size == 0 and array.ndim == 1:
        return np.empty(0, np.int64)
    if array.dtype.kind not in "iu" or array.ndim != 1:
        kind = f"{array.ndim}-D {array.dtype}"
        raise UserError(f"{name} is {kind}; it must be 1-D integers.", f"Save {name} as 1-D int64.", kind)
    return array.astype(np.int64)


@dataclass(frozen=True)
class Input:
    """Input of strategies.

    Attributes
    ----------
    remedy : str
        What to do if it is missing.
    check : callable
        Validates and converts the array to the form for strategies, or raises `UserError`.
    axis : int or None
        The axis of its images; None for image indices and inputs that are not per image. Probabilities may have a
        further axis, of views, before it.
    dimensions : tuple of int
        Allowed numbers of dimensions.
    of_images : bool
        Whether it is per image, or holds image indices.
    """

    remedy: str
    check: Callable[[ArrayLike], Array]
    axis: int | None = 0
    dimensions: tuple[int, ...] = (1,)
    of_images: bool = True


EMBED = "or run `initpools embed` first"
LEARNED = "Use `initpools rank` or `initpools al-run` in a run"
TRAINED = "or use `initpools rank` or `initpools al-run` in a run, which train a classifier"
INPUTS: Mapping[str, Input] = {
    "embeddings": Input(
        f"Pass them (--embeddings FILE.npy), {EMBED}.", partial(numbers, "embeddings"), dimensions=(2,)
    ),
    "probs": Input(
        f"Pass them (--probs FILE.npy) with shape (n, classes) or (views, n, classes), {TRAINED}.",
        _probs,
        dimensions=(1, 2, 3),
    ),
    "view_probs": Input(
        f"Pass them (--probs FILE.npy) with shape (views, n, classes), {TRAINED}.",
        partial(_several, "view_probs", "view"),
        1,
        (3,),
    ),
    "mc_probs": Input(
        f"Pass them (--probs FILE.npy) with shape (passes, n, classes), {TRAINED}.",
        partial(_several, "mc_probs", "pass"),
        1,
        (3,),
    ),
    "member_probs": Input(
        f"Pass them (--probs FILE.npy) with shape (members, n, classes), {TRAINED}.",
        partial(_several, "member_probs", "member"),
        1,
        (3,),
    ),
    "label_probs": Input(
        f"Pass them (--probs FILE.npy) with shape (n, classes), {TRAINED}.", _label_probs, dimensions=(2,)
    ),
    "mc_label_probs": Input(
        f"Pass them (--probs FILE.npy) with shape (passes, n, classes), {TRAINED}.",
        _several_label_probs,
        1,
        (3,),
    ),
    "features": Input(f"{LEARNED}, which train a classifier.", _features, dimensions=(2,)),
    "head": Input(f"{LEARNED}, which train a classifier.", _head, None, (2,), of_images=False),
    "query_set": Input(
        "Pass it (--query-set FILE): images of the run by index or path, or an .npy file of embeddings (q, d).",
        _query_set,
        None,
        (1, 2),
        of_images=False,
    ),
    "calibration": Input(
        "Use `initpools al-run`, which trains classifiers on parts of the labels.", _calibration, None, of_images=False
    ),
    "vaal_scores": Input(f"{LEARNED}, which train a discriminator.", partial(numbers, "vaal_scores")),
    "labels": Input(
        "Pass them (--labels FILE.npy), one class number per image with -1 for unknown, or use a run with labels.",
        _labels,
    ),
    "patches": Input(
        "Pass them (--patches FILE.npy) with shape (n, patches, d), or run "
        "`initpools embed BACKBONE --set embed.patches=true` first.",
        partial(numbers, "patches"),
        dimensions=(3,),
    ),
    "scores": Input(
        "Pass them (--scores FILE.npy), one number per image, or name a score: typicality, ccs+typicality.", _scores
    ),
    "clusters": Input("Pass them (--clusters FILE.npy), one integer per image.", lambda a: integers("clusters", a)),
    "groups": Input("Pass them (--groups FILE.csv), a table with the columns index and group.", group_codes),
    "order": Input("Pass it (--ranking FILE.npy): image indices, best first.", lambda a: integers("ranking", a), None),
}

#: Predicted probabilities.
PROBABILITIES = ("probs", "view_probs", "mc_probs", "member_probs")
#: Inputs that are outputs of a trained model.
MODEL_OUTPUTS = frozenset(
    {
        "probs",
        "view_probs",
        "mc_probs",
        "member_probs",
        "label_probs",
        "mc_label_probs",
        "features",
        "head",
        "vaal_scores",
    }
)
#: Inputs about classes, of which an image has one.
ONE_CLASS = frozenset({"probs", "view_probs", "mc_probs", "member_probs", "head", "labels"})


def rounding_note(method: Method, inputs: Mapping[str, ArrayLike | None]) -> str:
    """Return a note if the probabilities that a strategy reads were rescaled to sum to 1, else an empty string."""
    reads = {*method.inputs, *method.optional}
    name = next((each for each in PROBABILITIES if each in reads and inputs.get(each) is not None), None)
    return "" if name is None else distributions(name, numbers(name, np.asanyarray(inputs[name])))[1]


def image_axis(name: str, shape: tuple[int, ...]) -> int | None:
    """Return the axis of the images in an input of that shape; None for image indices.

    Raises
    ------
    UserError
        If the number of dimensions is wrong, or the array is empty.
    """
    spec = INPUTS[name]
    if len(shape) not in spec.dimensions:
        expectation = " or ".join(f"{d}-D" for d in spec.dimensions)
        raise UserError(
            f"{name} has shape {shape}; it must be {expectation}.", f"Pass {name} as {expectation} array.", shape
        )
    axis = 1 if name == "probs" and len(shape) == 3 else spec.axis
    if axis is not None and 0 in shape:
        what = f"{name} of at least one image" if shape[axis] == 0 else "at least one number for each image"
        raise UserError(f"{name} is empty: its shape is {shape}.", f"Pass {what}.", shape)
    return axis


def inputs_of(method: Method, balance: str, per_group: int = 0) -> list[str]:
    """Return the inputs that a strategy, the balance over clusters and a limit per group need, in order."""
    of_balance = {"kmeans": ["embeddings"], "clusters": ["clusters"], "groups": ["groups"]}.get(balance, [])
    of_limit = ["groups"] if per_group else []
    return list(dict.fromkeys([*method.inputs, *of_balance, *of_limit]))


def refuse_missing(strategy: str, names: Iterable[str], inputs: Mapping[str, object]) -> None:
    """Refuse missing inputs.

    Parameters
    ----------
    strategy : str
        As named by the user.
    names : iterable of str
    inputs : mapping
        Inputs by name; None counts as missing.

    Raises
    ------
    UserError
        Names the first missing input, and how to pass it.
    """
    missing = next((name for name in names if inputs.get(name) is None), None)
    if missing is not None:
        raise UserError(f"'{strategy}' needs {missing}.", INPUTS[missing].remedy, missing)


def take(name: str, array: Array, rows: NDArray[np.int64]) -> Array:
    """Restrict an input to the images in `rows` (ascending); image indices are renumbered.

    Returns the array itself if these are all of its images.
    """
    if not INPUTS[name].of_images:
        return array
    axis = INPUTS[name].axis
    if axis is not None and len(rows) == array.shape[axis]:
        return array
    if name == "embeddings" and in_file(array):
        return cast(Array, rows_of(array).take(rows))
    if axis is not None:
        return np.take(array, rows, axis=axis)
    inside = array[np.isin(array, rows)]
    return np.searchsorted(rows, inside)
