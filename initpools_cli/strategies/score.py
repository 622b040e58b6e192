"""Strategy `score`: order images by their scores."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, best_first, unlabeled_rows


@strategies.register(nested=True, cost="n log n")
def score(
    scores: NDArray[np.float64],
    labeled: NDArray[np.int64],
    budget: int,
    *,
    order: Literal["highest", "lowest", "middle", "stratified"] = "highest",
) -> Selection:
    """Take the images with the highest or lowest scores; ties go to the lower index.

    - "middle" takes the images nearest the middle of the order of scores, the higher of two first.
    - "stratified" divides that order into as many equal parts as the budget and takes the image in the middle of each,
      highest first. Its picks depend on the budget.

    Parameters
    ----------
    scores : (n,) float64
        Finite, in any unit.
    labeled : (m,) int64
    budget : int
    order : {"highest", "lowest", "middle", "stratified"}
        Which scores come first.

    Returns
    -------
    Selection
        With the scores of the picks.
    """
    if order in ("highest", "lowest"):
        picks = best_first(scores if order == "highest" else -scores, labeled, budget).indices
    else:
        rows = unlabeled_rows(len(scores), labeled)
        ranking = rows[np.argsort(-scores[rows], kind="stable")]
        picks = ranking[_middle(len(rows))[:budget] if order == "middle" else _strata(len(rows), budget)]
    return Selection(picks, scores=scores[picks])


def _middle(n: int) -> NDArray[np.int64]:
    """Return the positions 0 to n - 1, nearest the middle first, the lower of two first."""
    return np.argsort(np.abs(2 * np.arange(n) - (n - 1)), kind="stable")


def _strata(n: int, count: int) -> NDArray[np.int64]:
    """Return the position in the middle of each of `count` equal parts of n positions."""
    return (2 * np.arange(count, dtype=np.int64) + 1) * n // (2 * count)
