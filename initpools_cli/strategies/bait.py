"""BAIT: the images that tell most about the weights of the last layer, as far as all images depend on them."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from initpools_cli.core.bounds import PositiveCount
from initpools_cli.core.capacity import require_memory
from initpools_cli.geometry.fisher import Fisher, one_thread, project_principal, sandwich_product
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, unlabeled_rows

# Chosen for each one wanted; the others are given back.
OVERSAMPLING = 2


@strategies.register(paper="Ash et al. 2021, arXiv:2106.09675", nested=False, cost="b n c² h²", needs_model=True)
def bait(
    features: NDArray[np.float32],
    probs: NDArray[np.float64],
    labeled: NDArray[np.int64],
    budget: int,
    *,
    components: PositiveCount = 16,
    regularizer: Annotated[float, Field(ge=1e-6, le=1e9)] = 1.0,
) -> Selection:
    """Lower tr(M⁻¹ F) as far as it goes: greedily choose twice the budget, then give back what it misses least.

    F is the Fisher information of the last layer's weights, (diag p − p pᵀ) ⊗ h hᵀ, averaged over all images, as in the
    paper's code, and M its sum over the labeled and the chosen plus `regularizer` times the identity. The traces are
    exact, by the Woodbury identity. Deviations: features are first projected on their main directions, not centered,
    since M is (c h)²; labeled and chosen images weigh the same in M, where the authors' code, with m labeled images and
    a budget of b, divides the sum over the labeled by m + b and multiplies that over the chosen by b / (m + b): there a
    chosen image weighs b times as much as a labeled one. On digits, of 20 picks after 50 labels 15 are others for it.

    Parameters
    ----------
    features : (n, h) float32
        What goes into the last layer.
    probs : (n, c) float64
        Rows sum to 1.
    labeled : (m,) int64
    budget : int
    components : int
        How many directions of the features count; all of them where there are no more.
    regularizer : float
        In the unit of squared features; far below them M can't be told from a singular matrix.

    Returns
    -------
    Selection
        In the order in which they were chosen. Scores: by how much each then lowered the trace.
    """
    directions, classes = min(components, features.shape[1]), probs.shape[1]
    side = directions * classes
    require_memory(
        # The information, its inverse, the target and one product of them.
        4 * side * side * 8,
        f"Matrices of {side:,} rows, for {directions:,} components of {classes:,} classes, take",
        "Lower the knob components.",
    )
    fisher = Fisher(project_principal(features, components), probs)
    rows = unlabeled_rows(len(features), labeled)
    target = fisher.total(np.arange(len(features))) / len(features)
    design = fisher.total(labeled) + regularizer * np.eye(len(target))
    inverse = one_thread(lambda: np.asarray(np.linalg.inv(design), np.float64))
    picks: list[int] = []
    gains: list[float] = []
    for _ in range(min(OVERSAMPLING * budget, len(rows))):
        best, gain = fisher.best(rows, inverse, sandwich_product(inverse, target))
        picks.append(best)
        gains.append(gain)
        rows = rows[rows != best]
        inverse = fisher.updated(inverse, best, 1.0)
    while len(picks) > budget:
        losses = fisher.changes(np.array(picks), inverse, sandwich_product(inverse, target), -1.0)
        least = int(losses.argmin())
        inverse = fisher.updated(inverse, picks.pop(least), -1.0)
        gains.pop(least)
    return Selection(np.array(picks, np.int64), scores=np.array(gains))
