"""Checks of the settings of every strategy, and refusals of constant scores and equal embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.config import DEFAULT_CLUSTERS
from initpools_cli.core.errors import UserError, nearest
from initpools_cli.core.registry import Method
from initpools_cli.strategies.balance import BALANCES
from initpools_cli.strategies.selection import Selection
from initpools_cli.strategies.traits import StrategyTraits

COPIES = ("last", "any")
COMMON_SHARE = 0.95
# Losses are sums of terms around 1, which float64 rounds at 2e-16: a smaller range is rounding.
FLOOR = 1e-12
# Rows compared at once; usually the first block differs.
BLOCK = 1024
REMEDY = "Use another score, or the strategy random."


def refuse_constant(scores: NDArray[np.floating]) -> None:
    """Refuse scores that are constant within rounding, or equal for over 95 % of the images.

    A range counts as rounding if it is a few float32 steps of the largest score; or below 1e-6 with very few distinct
    values (rounding around zero); or below 1e-12 (float64 rounding of terms around 1).

    Parameters
    ----------
    scores : (n,) float
        Finite. A single score passes.

    Raises
    ------
    UserError
        If the scores are constant.
    """
    n = len(scores)
    if n < 2:
        return
    low, high = float(scores.min()), float(scores.max())
    values, counts = np.unique(scores, return_counts=True)
    rounding = 8 * float(np.finfo(np.float32).eps) * max(abs(low), abs(high))
    if high - low <= max(rounding, FLOOR) or (high - low <= 1e-6 and len(values) <= max(2, n // 10)):
        raise UserError(
            f"The scores are constant within rounding: all {n} are between {low:.9g} and {high:.9g}.",
            REMEDY,
            f"{low:.9g}",
        )
    share = counts.max() / n
    if share > COMMON_SHARE:
        common = float(values[counts.argmax()])
        raise UserError(f"{share:.1%} of the {n} scores have the same value, {common:.9g}.", REMEDY, f"{common:.9g}")


def refuse_equal_points(points: NDArray[np.float32], rows: NDArray[np.int64], n: int) -> None:
    """Refuse scaled embeddings that are equal within rounding.

    Parameters
    ----------
    points : (m, d) float32
    rows : (k,) int64
        Rows to compare: originals that are not zero. A single row passes.
    n : int
        Number of images, for the message.

    Raises
    ------
    UserError
        If the rows are equal.
    """
    if len(rows) < 2:
        return
    first = points[rows[0]].astype(np.float64)
    rounding = 8 * float(np.finfo(np.float32).eps) * float(np.abs(first).max())
    for start in range(0, len(rows), BLOCK):
        if (np.abs(points[rows[start : start + BLOCK]] - first) > rounding).any():
            return
    others = f", except {n - len(rows)} copies or zero rows" if len(rows) < n else ""
    raise equal_embeddings(n, others)


def equal_embeddings(n: int, others: str = "") -> UserError:
    """Make the error for embeddings that are equal for all images."""
    return UserError(
        f"The embeddings of all {n} images are equal{others}.", "Use other embeddings, or the strategy random.", n
    )


def refuse_constant_outputs(method: Method[StrategyTraits], selection: Selection) -> None:
    """Refuse a selection by a model whose outputs are the same for all images.

    Used for model outputs from a file and for rankings. Active learning continues, with a new model in each round.

    Raises
    ------
    UserError
        As `refuse_constant`, for the scores of all candidates.
    """
    if method.traits.needs_model and selection.candidate_scores is not None:
        refuse_constant(selection.candidate_scores)


def refuse_probes_alone(arrays: Mapping[str, NDArray[Any]], knobs: Mapping[str, Any]) -> None:
    """Refuse `probes` without `neighbors`: all pairs are compared then.

    Raises
    ------
    UserError
    """
    probes = knobs["probes"]
    if probes and not knobs["neighbors"]:
        raise UserError(
            f"probes={probes} has no effect with neighbors=0, which compares all pairs of images.",
            "Add --set neighbors=50, or leave out probes and index.",
            f"probes={probes}",
        )


def check_settings(
    balance: str,
    n_clusters: int,
    sample: int,
    copies: str,
    min_distance: float,
    semdedup: float,
    per_group: int,
) -> None:
    """Check the settings of every strategy; see `choose`.

    Raises
    ------
    UserError
        If a value is not valid.
    """
    if balance not in BALANCES:
        guess = nearest(balance, BALANCES)
        hint = f"Did you mean '{guess}'? " if guess else ""
        raise UserError(f"balance = '{balance}' is not valid.", f"{hint}Use one of {', '.join(BALANCES)}.", balance)
    if sample < 0:
        raise UserError(f"sample={sample} is negative.", "Use a number ≥ 1, or 0 for all images.", sample)
    if n_clusters < 0:
        raise UserError(
            f"n_clusters={n_clusters} is negative.", f"Use a number ≥ 1, or 0 for {DEFAULT_CLUSTERS}.", n_clusters
        )
    if copies not in COPIES:
        raise UserError(f"copies = '{copies}' is not valid.", f"Use one of {', '.join(COPIES)}.", copies)
    if not 0 <= min_distance < np.inf:
        raise UserError(f"min_distance={min_distance} is not valid.", "Use a finite number ≥ 0.", min_distance)
    if not 0 <= semdedup <= 1:
        raise UserError(f"semdedup={semdedup} is not valid.", "Use a number from 0 to 1, such as 0.05.", semdedup)
    if per_group < 0:
        raise UserError(f"per_group={per_group} is negative.", "Use a number ≥ 1, or 0 for no limit.", per_group)
