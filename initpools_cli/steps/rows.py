"""Rows of embeddings that are zero or copies of others: how they are found, counted and reported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from initpools_cli.core.config import SelectTable
from initpools_cli.core.reporter import Reporter
from initpools_cli.strategies.arrays import INPUTS
from initpools_cli.strategies.candidates import as_rows
from initpools_cli.strategies.duplicates import NAMED, RowFacts, largest_entries, near_zero

if TYPE_CHECKING:
    from initpools_cli.steps.strategy_name import StrategySpec


def subject_of(strategy: StrategySpec, arrays: Mapping[str, Any], *, own_scores: bool = True) -> np.ndarray | None:
    """The embeddings, or patches, that a strategy or its score reads, checked; None if it reads none.

    Parameters
    ----------
    arrays : mapping of str to array
        The inputs of the user.
    own_scores : bool
        Whether the scores that the strategy ranks by are computed from the embeddings.
    """
    inputs = [*strategy.inputs, *strategy.method.optional]
    inputs += ["embeddings"] if own_scores and strategy.reads_embeddings else []
    name = next((each for each in ("embeddings", "patches") if each in inputs and arrays.get(each) is not None), None)
    return None if name is None else INPUTS[name].check(arrays[name])


def facts_of(subject: np.ndarray | None) -> RowFacts | None:
    """The facts of the rows of embeddings; None without embeddings."""
    return None if subject is None else RowFacts.of(subject)


def identity(
    facts: RowFacts | None, mask: np.ndarray, labeled: np.ndarray | None, select: SelectTable
) -> dict[str, int]:
    """The numbers of zero rows and copies, for a step's table: older versions chose others of them.

    Empty if there are none, so that steps of other data keep their digests.

    Parameters
    ----------
    mask : (n,) bool
    labeled : (m,) int64, optional
    """
    if facts is None:
        return {}
    rows = np.flatnonzero(mask)
    labeled_places = None if labeled is None else np.flatnonzero(np.isin(rows, labeled))
    counts = facts.take(rows).counts(labeled_places)
    return {name: count for name, count in counts.items() if name == "zero_rows" or select.copies == "last"}


def distance_identity(select: SelectTable) -> dict[str, Any]:
    """The settings of picks that later versions added, if they are set: for steps with only a part of [select]."""
    return {
        key: value
        for key, value in select.identity().items()
        if key in ("copies", "min_distance", "semdedup", "per_group")
    }


def zero_count(embeddings: np.ndarray | None, mask: np.ndarray) -> dict[str, int]:
    """The number of zero rows, for the table of a step that measures distances; empty if there are none."""
    count = 0 if embeddings is None else int(near_zero(largest_entries(embeddings)[mask]).sum())
    return {"zero_rows": count} if count else {}


def tell(report: Reporter, facts: RowFacts, images: np.ndarray, labeled: np.ndarray | None, copies: str) -> None:
    """Print which rows are zero, and how many are copies; each once per command.

    Parameters
    ----------
    images : (m,) int64
        The images of the command, ascending.
    labeled : (l,) int64, optional
    """
    zero = zero_note(facts, np.setdiff1d(np.arange(len(facts.original)), images))
    if zero:
        report.once(zero, warn=True)
    labeled_places = None if labeled is None else np.flatnonzero(np.isin(images, labeled))
    count = int(facts.take(images).copies(labeled_places).sum())
    if count:
        order = "and are chosen after all others" if copies == "last" else "and are chosen like all others"
        report.once(
            f"{count:,} of {len(images):,} images have exactly the embedding of another one, {order} "
            f'(select.copies = "{copies}").'
        )


def tell_short(report: Reporter, n_picks: int, budget: int, select: SelectTable) -> None:
    """Warn if fewer images are chosen than the budget."""
    note = short_note(n_picks, budget, select.model_dump())
    if note:
        report.once(note, warn=True)


def zero_note(facts: RowFacts | None, exclude: ArrayLike | None) -> str:
    """The sentence about zero rows; empty if there are none.

    Parameters
    ----------
    exclude : (m,) int or (n,) bool, optional
        The images that are left out.
    """
    if facts is None:
        return ""
    n = len(facts.original)
    images = np.setdiff1d(np.arange(n), as_rows("exclude", exclude, n))
    rows = images[facts.take(images).zero]
    if not len(rows):
        return ""
    first = ", ".join(map(str, rows[:NAMED])) + (", …" if len(rows) > NAMED else "")
    return (
        f"{len(rows):,} of {len(images):,} embeddings are zero, or would be but for rounding, and say nothing about "
        f"their images (rows {first}). They are chosen after all others."
    )


def short_note(n_picks: int, budget: int, settings: Mapping[str, Any]) -> str:
    """The sentence about a selection smaller than the budget; empty if it is not smaller.

    Parameters
    ----------
    settings : mapping
        Of [select].
    """
    if n_picks >= budget:
        return ""
    apart, semdedup = settings.get("min_distance", 0.0), settings.get("semdedup", 0.0)
    near = f"closer than min_distance = {apart:g} to one of them or to a labeled image, or are of length zero"
    copies = f"near-copies by semdedup = {semdedup:g}"
    reasons = " or ".join(text for text, value in ((near, apart), (copies, semdedup)) if value)
    return f"{n_picks:,} images are chosen, of {budget:,} asked for: all others are {reasons}."
