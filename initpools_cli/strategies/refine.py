"""Strategy `refine`: filter the pool by an ensemble of strategies in rounds, then cover what is left."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from initpools_cli.core.bounds import Passes
from initpools_cli.strategies.ensemble import ModelArrays
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.runtime import SUBSET
from initpools_cli.strategies.selection import Selection, unlabeled_rows
from initpools_cli.strategies.uherding import uherding

ENSEMBLE = ("random", "margin", "badge", "typiclust", "alfamix", "dropquery", "maxherding", "uherding")
# Images that are left after a round, at most.
KEPT = 10_000


@strategies.register(
    paper="Huseljic et al. 2026, arXiv:2511.22344", nested=False, cost="t s d b", factor=700.0, needs_model=True
)
def refine(
    embeddings: NDArray[np.float32],
    features: NDArray[np.float32],
    head: NDArray[np.float64],
    probs: NDArray[np.float64],
    labeled: NDArray[np.int64],
    budget: int,
    rng: np.random.Generator,
    labels: NDArray[np.int64] | None = None,
    *,
    rounds: Passes = 5,
    batches: Passes = 10,
    share: Annotated[float, Field(gt=0, le=1)] = 0.4,
) -> Selection:
    """Keep images that any of eight strategies chooses from random subsets, in rounds; choose among them by UHerding.

    In each round every strategy chooses `batches` batches of the budget's size, each from a random `share` of the
    images that are left. The union of all batches goes on to the next round. The strategies are `random`, `margin`,
    `badge`, `typiclust`, `alfamix`, `dropquery`, `maxherding` and `uherding`. A subset has at most 5,000 images, and
    10,000 of a larger union go on, as in the authors' code.

    Differences from the authors' code:

    - BAIT, the ninth strategy, is left out, because it takes many times as long as all others.
    - Subsets are a share of the pool in the first round, too, as in the paper, where the code takes 5,000 images.
    - UHerding's temperature is 1.
    - MaxHerding and UHerding are those of their authors. The code subtracts how well a candidate itself is covered and
      weights by its own uncertainty.

    Parameters
    ----------
    embeddings : (n, d) float32
    features : (n, h) float32
        Inputs of the last layer.
    head : (h + 1, c) float64
        Weights of the last layer, with the bias as the last row.
    probs : (n, c) float64
        Rows sum to 1.
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator
    labels : (n,) int64, optional
        Bought labels, -1 elsewhere; default: predicted classes.
    rounds : int
        Number of rounds.
    batches : int
        Number of batches of each strategy in each round.
    share : float
        Share of the images that are left, in each subset.

    Returns
    -------
    Selection
        Scores: those of UHerding among the images that are left.
    """
    model = ModelArrays(embeddings, features, head, probs, labeled, labels)
    candidates = unlabeled_rows(len(embeddings), labeled)
    for _ in range(rounds):
        if len(candidates) == budget:
            break
        size = max(budget, min(int(share * len(candidates)), SUBSET))
        batch_picks = [
            model.choose(name, rng.choice(candidates, size, replace=False), budget, rng)
            for name in ENSEMBLE
            for _ in range(batches)
        ]
        candidates = np.unique(np.concatenate(batch_picks))
        if len(candidates) > max(KEPT, budget):
            candidates = np.sort(rng.choice(candidates, max(KEPT, budget), replace=False))
    rows = np.union1d(candidates, labeled)
    final = uherding(np.ascontiguousarray(embeddings[rows]), np.searchsorted(rows, labeled), budget, rng, probs[rows])
    return Selection(rows[final.indices], scores=final.scores)
