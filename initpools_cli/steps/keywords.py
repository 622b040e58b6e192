"""Keywords of `initpools_cli.select`: knobs of the strategy, inputs, or settings of every strategy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from initpools_cli.core.config import SelectTable
from initpools_cli.core.errors import UserError
from initpools_cli.core.registry import value_error
from initpools_cli.core.settings import index_knobs
from initpools_cli.datasets.embedding_formats.frames import array_of_frame, is_frame
from initpools_cli.datasets.embedding_formats.stored import NO_IDS
from initpools_cli.datasets.embeddings import read_embeddings
from initpools_cli.steps.strategy_name import StrategySpec
from initpools_cli.strategies.arrays import INPUTS

#: Arguments that may be paths or data frames: one row of numbers per image.
MATRICES = ("embeddings", "query_set")
#: Settings of `select` for every strategy, by their keys in [select].
SETTINGS = (
    "index", "normalize", "balance", "n_clusters", "sample", "copies", "min_distance", "semdedup", "per_group",
    "partitions",
)  # fmt: skip


@dataclass(frozen=True)
class Keywords:
    """The keywords of one call.

    Attributes
    ----------
    knobs : dict
        The strategy's own, and those of the score it ranks by.
    inputs : dict of str to ndarray or None
        By the names of `strategies.arrays.INPUTS`.
    settings : dict
        By the names of `SETTINGS`.
    """

    knobs: dict[str, Any]
    inputs: dict[str, Any]
    settings: dict[str, Any]


def sort_keywords(strategy: StrategySpec, knobs: Mapping[str, Any] | None, more: Mapping[str, Any]) -> Keywords:
    """Sort keywords into knobs, inputs and settings.

    Parameters
    ----------
    knobs : mapping, optional
        Only knobs. With it, a name in `more` that is both a knob and an input or a setting is not the knob.
    more : mapping
        All other keywords. The value decides what a name that is both means: an array, a number, a text or a
        switch.

    Raises
    ------
    UserError
        `knobs` is no mapping, a knob is unknown or given twice, a setting has a wrong value, a name may mean both, or
        an input is no array.
    """
    if knobs is not None and not isinstance(knobs, Mapping):
        raise UserError(
            f"knobs is of type {type(knobs).__name__}, not a mapping.",
            "Write knobs={'name': value}, one entry for each knob.",
            type(knobs).__name__,
        )
    own = {**strategy.method.knobs, **(strategy.scoring.knobs if strategy.scoring else {})}
    keywords = Keywords({key: scalar(value) for key, value in (knobs or {}).items()}, {}, {})
    for name, raw in more.items():
        value = scalar(raw)
        other = keywords.inputs if name in INPUTS else keywords.settings if name in SETTINGS else None
        if other is None or (name in own and knobs is None and _means_knob(strategy, name, value, own, more)):
            if name in keywords.knobs:
                raise UserError(
                    f"The knob '{name}' is given twice.", f"Leave {name} out of knobs, or out of the keywords.", name
                )
            keywords.knobs[name] = value
        else:
            other[name] = as_array(name, value) if name in INPUTS else value
    strategy.refuse_unknown(keywords.knobs)
    try:
        SelectTable.model_validate(keywords.settings)
    except ValidationError as error:
        raise value_error(error) from None
    if (index := keywords.settings.pop("index", None)) is not None:
        keywords.knobs.update(index_knobs(index, strategy.name, own, keywords.knobs))
    return keywords


def as_array(name: str, values: Any) -> NDArray[Any] | None:
    """`values` as an array; None stays None.

    Parameters
    ----------
    name : str
        The argument, for messages.
    values : array_like, tensor, data frame, str or Path
        A tensor may be on any device; a data frame or a path must be of embeddings, see `read_embeddings`.

    Raises
    ------
    UserError
        Rows of different lengths, or a data frame or file without embeddings.
    """
    if values is None:
        return None
    if isinstance(values, str | PathLike):
        return _of_path(name, Path(values))
    if hasattr(values, "detach"):
        return _of_tensor(name, values)
    if is_frame(values):
        return array_of_frame(name, values) if name in MATRICES else np.asarray(values)
    try:
        return np.asanyarray(values)
    except ValueError:
        raise UserError(
            f"{name} is not an array: its rows differ in length.", "Give all rows the same length.", name
        ) from None


def _of_path(name: str, path: Path) -> NDArray[Any]:
    if name not in MATRICES:
        raise UserError(
            f"{name} is the path {path}, which is read for embeddings only.", f"Pass {name} as an array.", path
        )
    # Picks are indices, so that ids are not needed.
    return read_embeddings(path, NO_IDS).array


def _of_tensor(name: str, tensor: Any) -> NDArray[Any]:
    tensor = tensor.detach().cpu()
    try:
        # NumPy has no bfloat16; float32 has all its values.
        array: NDArray[Any] = (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy()
    except (TypeError, RuntimeError) as error:
        reason = str(error).split(". ")[0].rstrip(".")
        raise UserError(
            f"{name} is a tensor that NumPy can't read: {reason:.200}.", f"Pass {name} as a dense tensor.", name
        ) from None
    return array


def scalar(value: Any) -> Any:
    """A single number of NumPy or another array library as the Python number that it is; all else as it is."""
    return value.item() if getattr(value, "ndim", None) == 0 else value


def _means_knob(
    strategy: StrategySpec, name: str, value: Any, own: Mapping[str, tuple[Any, Any]], more: Mapping[str, Any]
) -> bool:
    """Whether a name that is both a knob and something else is the knob here."""
    of_knob = _kind(own[name][1])
    of_other = "array" if name in INPUTS else _kind(getattr(SelectTable(), name))
    if of_knob != of_other:
        return _kind(value) != of_other
    # The number of clusters for the balance means nothing without one.
    if name == "n_clusters" and "kmeans" not in (strategy.balance.kind, more.get("balance")):
        return True
    raise UserError(
        f"{name}={value!r} may be the knob of '{strategy.name}' or the setting of every strategy.",
        f"Give the knob as knobs={{'{name}': …}}, and the setting as {name}=…; with knobs={{}} it is the setting.",
        value,
    )


def _kind(value: Any) -> str:
    """The kind of a value; None stands for a missing array."""
    if isinstance(value, str):
        return "text"
    if isinstance(value, bool):
        return "switch"
    return "array" if value is None or hasattr(value, "__len__") else "number"
