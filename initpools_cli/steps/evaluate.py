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
    mask: np.ndarray | None = None,
) -> np.ndarray:
    """A registered score of arrays alone, (n,) float64.

    Zero embeddings are left out, as their direction means nothing; their images get the median.

    Parameters
    ----------
    arrays : mapping of str to array
        The inputs of the score by name; embeddings are not normalized yet.
    normalize : bool
        Scale embeddings to length 1, as for strategies.
    seed : int
        Of all random numbers.
    report : Reporter, optional
        Prints an estimate of the runtime, if it is long.
    mask : (n,) bool, optional
        The images to score; the others get the median.
    """
    from initpools_cli.core.seeds import generator
    from initpools_cli.strategies.arrays import INPUTS, take
    from initpools_cli.strategies.embeddings import as_embeddings, for_method
    from initpools_cli.strategies.runtime import expectation

    arguments: dict[str, Any] = {name: arrays[name] for name in method.inputs}
    rows = None
    if "embeddings" in arguments:
        embeddings = INPUTS["embeddings"].check(arguments["embeddings"])
        rows = _rows_to_score(embeddings, mask)
        points = as_embeddings(take("embeddings", embeddings, rows), normalize)
        arguments["embeddings"] = for_method(method, points)
        n, d = points.shape
        # Every image is scored, so there is no smaller sample.
        runtime = expectation(method.name, method, n, d, n, knobs, 0, samples=())
        if runtime is not None and report is not None:
            report.say(runtime)
    if "rng" in inspect.signature(method.build).parameters:
        arguments["rng"] = generator(seed, method.name)
    scores: np.ndarray = method.build(**arguments, **knobs)
    if rows is None or len(rows) == len(arrays["embeddings"]):
        return scores
    all_scores = np.full(len(arrays["embeddings"]), np.median(scores))
    all_scores[rows] = scores
    return all_scores


def _rows_to_score(embeddings: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Return the rows of `mask` that are not zero, ascending; all of them if they are all zero."""
    from initpools_cli.strategies.duplicates import largest_entries, near_zero

    rows = np.arange(len(embeddings)) if mask is None else np.flatnonzero(mask)
    lengthy = rows[~near_zero(largest_entries(embeddings)[rows])]
    return lengthy if len(lengthy) else rows


def outcome_of(scores: np.ndarray) -> dict[str, float]:
    """The lowest, the median and the highest of scores."""
    return {"lowest": float(scores.min()), "median": float(np.median(scores)), "highest": float(scores.max())}


def tell_zero(report: Reporter, table: Mapping[str, Any]) -> None:
    """Warn of zero embeddings; `table` is what `zero_count` gives."""
    if "zero_rows" in table:
        report.warn(f"{table['zero_rows']:,} embeddings are zero: their images get the median score.")
