"""Scores that say nothing, and must not be passed off as an order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.errors import UserError
from initpools_cli.core.registry import Method
from initpools_cli.strategies.registry import StrategyTraits
from initpools_cli.strategies.selection import Selection

COMMON_SHARE = 0.95
# Losses are sums of terms around 1, and float64 rounds those at 2e-16: what is all below this is what rounding left.
FLOOR = 1e-12
#: Rows looked at in one step: where they differ, the first will do.
BLOCK = 1024
REMEDY = "An order by it would be an order by chance: take another score, or strategy random."


def refuse_constant(scores: NDArray[np.floating]) -> None:
    """Refuse scores that are one value, but for rounding, or one value for over 95 % of the images.

    Rounding is a spread of a few float32 steps of the largest score; or one below 1e-6 with hardly any different
    values, which is how rounding looks around zero; or one below 1e-12, which is what float64 leaves of terms around 1.

    Parameters
    ----------
    scores : (n,) float
        Finite. A single image has nothing to be ordered against and passes.

    Raises
    ------
    UserError
        With the reason.
    """
    n = len(scores)
    if n < 2:
        return
    low, high = float(scores.min()), float(scores.max())
    values, counts = np.unique(scores, return_counts=True)
    rounding = 8 * float(np.finfo(np.float32).eps) * max(abs(low), abs(high))
    if high - low <= max(rounding, FLOOR) or (high - low <= 1e-6 and len(values) <= max(2, n // 10)):
        raise UserError(
            f"The scores are constant within rounding: all {n} lie between {low:.9g} and {high:.9g}.", REMEDY
        )
    share = counts.max() / n
    if share > COMMON_SHARE:
        common = float(values[counts.argmax()])
        raise UserError(f"{share:.1%} of the {n} scores have the same value, {common:.9g}.", REMEDY)


def refuse_one_point(points: NDArray[np.float32], rows: NDArray[np.int64], n: int) -> None:
    """Refuse embeddings, as strategies see them, that are one point but for rounding, as `refuse_constant` has it.

    Parameters
    ----------
    points : (m, d) float32
    rows : (k,) int64
        Which of them count: those that have a length. A single one passes.
    n : int
        How many images there are, for the message.

    Raises
    ------
    UserError
        With the number of images.
    """
    if len(rows) < 2:
        return
    first = points[rows[0]].astype(np.float64)
    rounding = 8 * float(np.finfo(np.float32).eps) * float(np.abs(first).max())
    for start in range(0, len(rows), BLOCK):
        if (np.abs(points[rows[start : start + BLOCK]] - first) > rounding).any():
            return
    others = f", but for {n - len(rows)} that are copies or of length zero" if len(rows) < n else ""
    raise equal_embeddings(n, others)


def equal_embeddings(n: int, others: str = "") -> UserError:
    """The error for embeddings that are the same for all images."""
    return UserError(
        f"The embeddings of all {n} images are equal{others}.",
        "A choice by them would be a choice by chance: take other embeddings, or strategy random.",
    )


def refuse_indifferent(method: Method[StrategyTraits], selection: Selection) -> None:
    """Refuse a choice by a model to which all images are the same.

    For who brought the model's answers or asks for a ranking. Active learning goes on: its next model may know better.

    Raises
    ------
    UserError
        As `refuse_constant`, of the scores of all images that could be chosen.
    """
    if method.traits.needs_model and selection.among is not None:
        refuse_constant(selection.among)
