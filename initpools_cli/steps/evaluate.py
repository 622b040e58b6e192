"""Compute a registered score of arrays."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from initpools_cli.core.registry import Method
from initpools_cli.core.reporter import Reporter


def evaluate(
    method: Method,
    arrays: Mapping[str, np.ndarray],
    knobs: Mapping[str, Any],
    normalize: bool,
    seed: int,
    report: Reporter | None = None,
    seen: np.ndarray | None = None,
) -> np.ndarray:
    """A registered score of arrays alone, (n,) float64.

    Embeddings of length zero are left out, as they are near to all others by accident; their images get the median.

    Parameters
    ----------
    arrays : mapping of str to array
        What the score asks for, by name; embeddings as they come.
    normalize : bool
        Scale embeddings to length 1, as strategies get them.
    seed : int
        Decides everything that is drawn.
    report : Reporter, optional
        Where it is said how long it will take, if that is long.
    seen : (n,) bool, optional
        The images that there are; the others get the median, too.
    """
    from initpools_cli.core.seeds import generator
    from initpools_cli.strategies.arrays import INPUTS, as_embeddings, for_method, take
    from initpools_cli.strategies.runtime import expectation

    given: dict[str, Any] = {name: arrays[name] for name in method.inputs}
    rows = None
    if "embeddings" in given:
        checked = INPUTS["embeddings"].check(given["embeddings"])
        rows = _scored(checked, seen)
        points = as_embeddings(take("embeddings", checked, rows), normalize)
        given["embeddings"] = for_method(method, points)
        n, d = points.shape
        # Every image is scored, so that there is no choosing among fewer.
        told = expectation(method.name, method, n, d, n, knobs, 0, samples=())
        if told is not None and report is not None:
            report.say(told)
    if "rng" in inspect.signature(method.build).parameters:
        given["rng"] = generator(seed, method.name)
    found: np.ndarray = method.build(**given, **knobs)
    if rows is None or len(rows) == len(arrays["embeddings"]):
        return found
    every = np.full(len(arrays["embeddings"]), np.median(found))
    every[rows] = found
    return every


def _scored(embeddings: np.ndarray, seen: np.ndarray | None) -> np.ndarray:
    """The rows that are there and have a length, ascending; all that are there where none has one."""
    from initpools_cli.strategies.duplicates import largest_entries, near_zero

    rows = np.arange(len(embeddings)) if seen is None else np.flatnonzero(seen)
    lengthy = rows[~near_zero(largest_entries(embeddings)[rows])]
    return lengthy if len(lengthy) else rows


def outcome_of(scores: np.ndarray) -> dict[str, float]:
    """The lowest, the median and the highest of scores."""
    return {"lowest": float(scores.min()), "median": float(np.median(scores)), "highest": float(scores.max())}


def tell_zero(report: Reporter, table: Mapping[str, Any]) -> None:
    """Warn of zero embeddings; `table` is what `zero_count` gives."""
    if "zero_rows" in table:
        report.warn(f"{table['zero_rows']:,} embeddings are zero: their images get the median score.")
