"""Class probabilities as they are brought: rounded ones, one column that stands for two, and what is none."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.errors import UserError

#: What float32 leaves of a sum of 1: rows that are off by no more are left as they are.
EXACT = 1e-5
#: Half a step of bfloat16, relative: what rounding each entry can make of a sum of 1. That of float16 is 2**-11.
BFLOAT16 = 2.0**-8
#: Decimals that entries may have been rounded to. Of c entries rounded to k decimals the sum is off by c / 2 · 10**-k.
DECIMALS = (3, 4, 5, 6)
#: Of an entry: what rounding may leave below 0.
BELOW = -1e-6

SOFTMAX = "If these are logits, take their softmax over the classes first."


def distributions(name: str, given: NDArray[Any]) -> tuple[NDArray[np.float64], str]:
    """Probabilities that sum to 1, and what was done for it.

    Sums may be off 1 by what rounding to 3 or more decimals, or to bfloat16 or float16, explains for that number of
    classes (`allowed`). Then every row is divided by its sum. A single column is the positive class of two.

    Parameters
    ----------
    name : str
        What they are to the user, for the error.
    given : (n,), (n, c) or (t, n, c) array
        Finite.

    Returns
    -------
    probs : (n, c) or (t, n, c) float64
        With c ≥ 2.
    note : str
        One sentence; empty where nothing was done.

    Raises
    ------
    UserError
        Negative entries, sums that rounding does not explain, or a single column outside [0, 1]; with what it looks
        like.
    """
    array = np.asarray(given, np.float64)
    array = array[:, None] if array.ndim == 1 else array
    if array.shape[-1] == 1:
        return _of_two(name, array), f"{name} has one column: it is taken as the positive class of two."
    sums = array.sum(axis=-1)
    off = np.abs(sums - 1)
    wrong = (off > BFLOAT16) | (array < BELOW).any(axis=-1)
    if wrong.any():
        wrong[wrong] = off[wrong] > allowed(array[wrong])
    if wrong.any():
        raise _no_probabilities(name, array, sums, wrong)
    array = np.maximum(array, 0)
    if off.max() <= EXACT:
        return array, ""
    note = (
        f"{name}: the sums of {int((off > EXACT).sum()):,} of {off.size:,} rows are off 1 by up to {off.max():.2g}, as "
        "after rounding; every row is divided by its sum."
    )
    return array / array.sum(axis=-1, keepdims=True), note


def allowed(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far the sum of each row (m, c) may be off 1; less than 0 for rows that are no probabilities.

    That of bfloat16; and where all entries are multiples of 10**-k but for the rounding of bfloat16, what rounding c of
    them to k decimals adds.
    """
    classes = rows.shape[1]
    found = np.full(len(rows), BFLOAT16)
    open_ = np.ones(len(rows), bool)
    for decimals in DECIMALS:
        rounded = (np.abs(rows - rows.round(decimals)) <= BFLOAT16 * np.abs(rows)).all(axis=1) & open_
        found[rounded] += classes / 2 * 10.0**-decimals
        open_ &= ~rounded
    found[(rows < BELOW).any(axis=1) | (rows.sum(axis=1) <= 0)] = -1
    return found


def _of_two(name: str, array: NDArray[np.float64]) -> NDArray[np.float64]:
    outside = (array < BELOW) | (array > 1 - BELOW)
    if outside.any():
        at = int(np.argwhere(outside)[0][-2])
        raise UserError(
            f"{name} has one column, the probability of one class of two, but row {at} is {array[outside][0]:.4g}.",
            "If these are logits, take 1 / (1 + exp(-x)) of them first.",
        )
    positive = array.clip(0, 1)
    return np.concatenate([1 - positive, positive], axis=-1)


def _no_probabilities(
    name: str, array: NDArray[np.float64], sums: NDArray[np.float64], wrong: NDArray[np.bool_]
) -> UserError:
    """The error for what is no probabilities, by what it looks like."""
    place = np.argwhere(wrong)[0]
    row, total = array[tuple(place)], float(sums[tuple(place)])
    at, lowest = int(place[-1]), float(row.min())
    if (array <= -BELOW).all() and (np.abs(np.exp(array).sum(axis=-1) - 1) < 0.1).all():
        return UserError(
            f"{name} must be probabilities, and these look like their logarithms: none is above 0, and the "
            "exponentials of each row sum to 1.",
            "Take np.exp of them first.",
        )
    if lowest < BELOW:
        return UserError(
            f"{name} must be probabilities, but row {at} has the negative entry {lowest:.4g} and sums to {total:.4g}, "
            "as logits do.",
            SOFTMAX,
        )
    if (np.abs(sums - 100) <= 100 * allowed((array / 100).reshape(-1, array.shape[-1])).reshape(sums.shape)).all():
        return UserError(
            f"{name} must be probabilities, and these look like percentages: each row sums to 100.",
            "Divide them by 100 first.",
        )
    fact = f"{name} must be probabilities, but row {at} sums to {total:.4g}, which rounding does not explain."
    if row.max() <= 1:
        return UserError(
            fact, "Bring all classes, as one softmax gives them: a sigmoid for each class is no distribution over them."
        )
    return UserError(fact, f"{SOFTMAX} If they are counts, divide each row by its sum.")
