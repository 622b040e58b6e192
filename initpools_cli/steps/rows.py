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
    """The embeddings, or patches, that a strategy or its score is about, checked; None where it is about none.

    Parameters
    ----------
    arrays : mapping of str to array
        As they were brought.
    own_scores : bool
        Whether the scores that the strategy ranks by are made of the embeddings, and are not an order that was given.
    """
    reads = [*strategy.needed, *strategy.method.optional]
    reads += ["embeddings"] if own_scores and strategy.reads_embeddings else []
    name = next((each for each in ("embeddings", "patches") if each in reads and arrays.get(each) is not None), None)
    return None if name is None else INPUTS[name].check(arrays[name])


def facts_of(subject: np.ndarray | None) -> RowFacts | None:
    """What is known of the rows of embeddings; None where there are none."""
    return None if subject is None else RowFacts.of(subject)


def identity(
    facts: RowFacts | None, seen: np.ndarray, labeled: np.ndarray | None, select: SelectTable
) -> dict[str, int]:
    """How many rows are zero and how many are copies, for a step's table: older versions chose others of them.

    Nothing where there are none, so that steps of other data keep their digests.

    Parameters
    ----------
    seen : (n,) bool
    labeled : (m,) int64, optional
    """
    if facts is None:
        return {}
    rows = np.flatnonzero(seen)
    known = None if labeled is None else np.flatnonzero(np.isin(rows, labeled))
    counts = facts.take(rows).counts(known)
    return {name: count for name, count in counts.items() if name == "zero_rows" or select.copies == "last"}


def distance_identity(select: SelectTable) -> dict[str, Any]:
    """The settings of picks that were added later where they are set, for a step that [select] is not all of."""
    return {
        key: value
        for key, value in select.identity().items()
        if key in ("copies", "min_distance", "semdedup", "per_group")
    }


def zero_count(embeddings: np.ndarray | None, seen: np.ndarray) -> dict[str, int]:
    """How many rows of embeddings are zero, for the table of a step that measures distances; nothing where none is."""
    count = 0 if embeddings is None else int(near_zero(largest_entries(embeddings)[seen]).sum())
    return {"zero_rows": count} if count else {}


def tell(report: Reporter, facts: RowFacts, images: np.ndarray, labeled: np.ndarray | None, copies: str) -> None:
    """Say which rows are zero, and how many are copies; each once in a command.

    Parameters
    ----------
    images : (m,) int64
        Those that are seen, ascending.
    labeled : (l,) int64, optional
    """
    zero = zero_note(facts, np.setdiff1d(np.arange(len(facts.original)), images))
    if zero:
        report.once(zero, warn=True)
    known = None if labeled is None else np.flatnonzero(np.isin(images, labeled))
    count = int(facts.take(images).copies(known).sum())
    if count:
        chosen = "and are chosen after all others" if copies == "last" else "and are chosen like all others"
        report.once(
            f"{count:,} of {len(images):,} images have exactly the embedding of another one, {chosen} "
            f'(select.copies = "{copies}").'
        )


def tell_short(report: Reporter, picked: int, budget: int, select: SelectTable) -> None:
    """Say where fewer images are chosen than were asked for."""
    note = short_note(picked, budget, select.model_dump())
    if note:
        report.once(note, warn=True)


def zero_note(facts: RowFacts | None, exclude: ArrayLike | None) -> str:
    """The sentence about rows of length zero; empty where there are none.

    Parameters
    ----------
    exclude : (m,) int or (n,) bool, optional
        The images that are not seen.
    """
    if facts is None:
        return ""
    n = len(facts.original)
    images = np.setdiff1d(np.arange(n), as_rows("exclude", exclude, n))
    found = images[facts.take(images).zero]
    if not len(found):
        return ""
    first = ", ".join(map(str, found[:NAMED])) + (", …" if len(found) > NAMED else "")
    return (
        f"{len(found):,} of {len(images):,} embeddings are zero, or would be but for rounding, and say nothing about "
        f"their images (rows {first}). They are chosen after all others."
    )


def short_note(picked: int, budget: int, settings: Mapping[str, Any]) -> str:
    """The sentence about a choice of fewer images than asked for; empty where there are as many.

    Parameters
    ----------
    settings : mapping
        As in [select].
    """
    if picked >= budget:
        return ""
    apart, semdedup = settings.get("min_distance", 0.0), settings.get("semdedup", 0.0)
    near = f"closer than min_distance = {apart:g} to one of them or to a labeled image, or are of length zero"
    copies = f"near-copies by semdedup = {semdedup:g}"
    reasons = " or ".join(text for text, value in ((near, apart), (copies, semdedup)) if value)
    return f"{picked:,} images are chosen, of {budget:,} asked for: all others are {reasons}."
