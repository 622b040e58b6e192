"""Validation of class probabilities: rounded rows, a single column, and arrays that are not probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.errors import UserError

# Float32 rounding error of a sum of 1: rows within it are not rescaled.
EXACT = 1e-5
# Relative rounding error of bfloat16, and so of a sum of 1. That of float16 is 2**-11.
BFLOAT16 = 2.0**-8
# Decimals that entries may be rounded to. The sum of c entries rounded to k decimals is off by up to c / 2 · 10**-k.
DECIMALS = (3, 4, 5, 6)
# Negative entries down to this are rounding.
BELOW = -1e-6

SOFTMAX = "If these are logits, apply softmax over the classes first."


def distributions(name: str, values: NDArray[Any]) -> tuple[NDArray[np.float64], str]:
    """Validate probabilities and rescale their rows to sum to 1.

    Sums may differ from 1 by the rounding error of 3 or more decimals, bfloat16 or float16, for the number of classes
    (`allowed`). Then every row is divided by its sum. A single column is the probability of the positive class.

    Parameters
    ----------
    name : str
        Name in error messages.
    values : (n,), (n, c) or (t, n, c) array
        Finite.

    Returns
    -------
    probs : (n, c) or (t, n, c) float64
        With c ≥ 2.
    note : str
        What was changed; empty if nothing was.

    Raises
    ------
    UserError
        If entries are negative, sums are not 1 within rounding, or a single column is outside [0, 1].
    """
    array = np.asarray(values, np.float64)
    array = array[:, None] if array.ndim == 1 else array
    if array.shape[-1] == 1:
        return _of_two(name, array), f"{name} has one column, used as the probability of the positive of two classes."
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
        f"{name}: the sums of {int((off > EXACT).sum()):,} of {off.size:,} rows differ from 1 by up to "
        f"{off.max():.2g}, within rounding; every row is divided by its sum."
    )
    return array / array.sum(axis=-1, keepdims=True), note


def allowed(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute how far the sum of each row (m, c) may differ from 1; negative for rows that are not probabilities.

    The rounding error of bfloat16, plus that of c entries rounded to k decimals if all entries are multiples of 10**-k
    within bfloat16.
    """
    classes = rows.shape[1]
    tolerance = np.full(len(rows), BFLOAT16)
    is_open = np.ones(len(rows), bool)
    for decimals in DECIMALS:
        is_rounded = (np.abs(rows - rows.round(decimals)) <= BFLOAT16 * np.abs(rows)).all(axis=1) & is_open
        tolerance[is_rounded] += classes / 2 * 10.0**-decimals
        is_open &= ~is_rounded
    tolerance[(rows < BELOW).any(axis=1) | (rows.sum(axis=1) <= 0)] = -1
    return tolerance


def _of_two(name: str, array: NDArray[np.float64]) -> NDArray[np.float64]:
    outside = (array < BELOW) | (array > 1 - BELOW)
    if outside.any():
        at = int(np.argwhere(outside)[0][-2])
        raise UserError(
            f"{name} has one column, but row {at} is {array[outside][0]:.4g}, which is not a probability.",
            "If these are logits, apply the sigmoid 1 / (1 + exp(-x)) first.",
            f"{array[outside][0]:.4g}",
        )
    positive = array.clip(0, 1)
    return np.concatenate([1 - positive, positive], axis=-1)


def _no_probabilities(
    name: str, array: NDArray[np.float64], sums: NDArray[np.float64], wrong: NDArray[np.bool_]
) -> UserError:
    """Make the error for values that are not probabilities, by what they look like."""
    place = np.argwhere(wrong)[0]
    row, total = array[tuple(place)], float(sums[tuple(place)])
    at, lowest = int(place[-1]), float(row.min())
    if (array <= -BELOW).all() and (np.abs(np.exp(array).sum(axis=-1) - 1) < 0.1).all():
        return UserError(
            f"{name} must be probabilities, but these look like log-probabilities: row {at} has the entry "
            f"{lowest:.4g}, no entry is above 0, and the exponentials of each row sum to 1.",
            "Apply np.exp first.",
            f"{lowest:.4g}",
        )
    if lowest < BELOW:
        return UserError(
            f"{name} must be probabilities, but row {at} has the negative entry {lowest:.4g} and sums to {total:.4g}.",
            SOFTMAX,
            f"{lowest:.4g}",
        )
    if (np.abs(sums - 100) <= 100 * allowed((array / 100).reshape(-1, array.shape[-1])).reshape(sums.shape)).all():
        return UserError(
            f"{name} must be probabilities, but these look like percentages: each row sums to 100.",
            "Divide them by 100 first.",
            100,
        )
    fact = f"{name} must be probabilities, but row {at} sums to {total:.4g}, which is not 1 within rounding."
    if row.max() <= 1:
        return UserError(
            fact, "Pass all classes of one softmax, not a sigmoid per class or some of the classes.", f"{total:.4g}"
        )
    return UserError(fact, f"{SOFTMAX} If they are counts, divide each row by its sum.", f"{total:.4g}")
