"""Strategy `ccs`: random images from all ranges of a score but the hardest images."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from initpools_cli.core.bounds import PositiveCount
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, ranks_within, unlabeled_rows

#: A share of the images, less than all.
Share = Annotated[float, Field(ge=0, lt=1)]


@strategies.register(paper="Zheng et al. 2023, arXiv:2210.15809", nested=True, cost="n log n")
def ccs(
    scores: NDArray[np.float64],
    labeled: NDArray[np.int64],
    budget: int,
    rng: np.random.Generator,
    *,
    order: Literal["highest", "lowest"] = "highest",
    strata: PositiveCount = 50,
    cutoff: Share = 0.3,
) -> Selection:
    """Draw equally many random images from each range of a score, without the hardest images.

    This is coverage-centric coreset selection. The `cutoff` share of the images with the hardest scores is set aside.
    The range of the other scores is divided into strata of equal width, and images are drawn from them in turn. A
    stratum with fewer images gives all of them. Labeled images count as draws. Images set aside come last, the least
    hard first. `ccs+SCORE` uses a score of `initpools list scores`, as in `ccs+typicality`.

    Differences from the paper and its code:

    - The paper's scores are made with labels (the area under the margin), and its cutoff differs by budget. The default
      here is that of the authors' command for 10 % of CIFAR-10.
    - The highest stratum ends at the highest score, not at 1.0001 times it.

    Parameters
    ----------
    scores : (n,) float64
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator
    order : {"highest", "lowest"}
        Which scores are the hardest.
    strata : int
        Number of strata.
    cutoff : float
        From 0 to less than 1.

    Returns
    -------
    Selection
        With the scores of the picks, and strata as clusters, -1 for images set aside.
    """
    strata_of = stratum_of(scores if order == "highest" else -scores, strata, cutoff)
    rows = rng.permutation(unlabeled_rows(len(scores), labeled))
    aside = strata_of[rows] < 0
    within = rows[~aside]
    inside = strata_of[within]
    label_strata = strata_of[labeled]
    turn = ranks_within(inside) + np.bincount(label_strata[label_strata >= 0], minlength=strata)[inside]
    sizes = np.bincount(strata_of[strata_of >= 0], minlength=strata)
    order_of_draw = within[np.lexsort((inside, -sizes[inside], turn))]
    last = np.sort(rows[aside])
    hardness = scores[last] if order == "highest" else -scores[last]
    picks = np.concatenate([order_of_draw, last[np.argsort(hardness, kind="stable")]])[:budget]
    return Selection(picks, scores=scores[picks], clusters=strata_of[picks])


def stratum_of(hardness: NDArray[np.float64], strata: int, cutoff: float) -> NDArray[np.int64]:
    """Return the stratum of each image (n,), from 0 for the easiest; -1 for the hardest `cutoff` share."""
    is_easy = np.ones(len(hardness), bool)
    is_easy[np.argsort(-hardness, kind="stable")[: int(cutoff * len(hardness))]] = False
    low, high = hardness[is_easy].min(), hardness[is_easy].max()
    places = (hardness - low) / (high - low) * strata if high > low else np.zeros(len(hardness))
    return np.where(is_easy, np.clip(places, 0, strata - 1), -1).astype(np.int64)
