"""Strategy `d2-pruning`: high scores in dense regions, passed as messages on a graph of neighbors."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.bounds import Count, Factor, PositiveCount
from initpools_cli.geometry.knn import approximate_revision, knn
from initpools_cli.strategies.ccs import Share
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection

# Values that differ by less than this share of the largest are ties.
TIE = 1e-9


@strategies.register(
    paper="Maharana, Yadav & Bansal 2024, arXiv:2310.07931",
    nested=True,
    cost="n² d",
    factor=1.8,
    revision=approximate_revision,
)
def d2_pruning(
    embeddings: NDArray[np.float32],
    scores: NDArray[np.float64],
    labeled: NDArray[np.int64],
    budget: int,
    rng: np.random.Generator,
    *,
    order: Literal["highest", "lowest"] = "highest",
    neighbors: PositiveCount = 5,
    gamma: Factor = 0.1,
    cutoff: Share = 0.0,
    probes: Count = 0,
) -> Selection:
    """Take images whose score and whose neighbors' scores are high, and lower those of the neighbors of each pick.

    It passes messages on the graph of nearest neighbors, with distance d:

    - Forward: an image starts with score + Σ_neighbors exp(−d) score.
    - Reverse: the image with the highest value v is taken, and each of its neighbors loses exp(−gamma d) v. This is
      repeated.

    Two images are neighbors if either is among the nearest of the other. Labeled images are taken first. Values within
    1e-9 of the largest are ties. `d2-pruning+SCORE` uses a score of `initpools list scores`, as in
    `d2-pruning+outlier`. Formulas and defaults are those of the authors' code for CIFAR-10.

    Differences from the authors' code:

    - Scores are shifted so that the lowest is 0.
    - There are no equal budgets by class; `d2-pruning+outlier@kmeans10` has them by cluster.
    - The code also sets 40 % of the images aside (`cutoff`).

    Parameters
    ----------
    embeddings : (n, d) float32
    scores : (n,) float64
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator
        Unused.
    order : {"highest", "lowest"}
        Which scores are preferred.
    neighbors : int
        At most n − 1.
    gamma : float
        With 0 a pick lowers all its neighbors by its own value; with a large number none.
    cutoff : float
        Share of the images with the most preferred scores that are set aside, as in `ccs`; they come last.
    probes : int
        0 is exact. Else approximate and faster: neighbors are searched in this many of about 2 √n lists of nearby
        images.

    Returns
    -------
    Selection
        Scores: the values at which images were taken, 0 for images set aside.
    """
    n = len(embeddings)
    preferences = scores - scores.min() if order == "highest" else scores.max() - scores
    by_score = np.argsort(-preferences, kind="stable")
    aside = by_score[: int(cutoff * n)]
    rows = np.sort(by_score[len(aside) :])
    values, targets, distances, starts = _forward(embeddings[rows], preferences[rows], neighbors, probes)
    allowance = TIE * values.max(initial=0.0)
    is_labeled = np.isin(rows, labeled)
    is_taken = np.zeros(len(rows), bool)

    def take(candidates: NDArray[np.bool_]) -> tuple[int, float]:
        rest = np.where(candidates & ~is_taken, values, -np.inf)
        at = int(np.flatnonzero(rest >= rest.max() - allowance)[0])
        is_taken[at] = True
        near = slice(starts[at], starts[at + 1])
        value = float(values[at])
        values[targets[near]] -= np.exp(-gamma * distances[near]) * value
        return at, value

    for _ in range(int(is_labeled.sum())):
        take(is_labeled)
    count = min(budget, int((~is_labeled).sum()))
    pick_values = [take(~is_labeled) for _ in range(count)]
    last = aside[~np.isin(aside, labeled)][::-1][: budget - count]
    picks = np.concatenate([rows[np.array([at for at, _ in pick_values], np.int64)], last])
    return Selection(picks, scores=np.array([value for _, value in pick_values] + [0.0] * len(last)))


def _forward(
    points: NDArray[np.float32], scores: NDArray[np.float64], neighbors: int, probes: int
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Build the graph of nearest neighbors, and pass the forward messages.

    Returns
    -------
    values : (n,) float64
    targets, distances : (e,)
        The neighbors of each row, ascending, row by row.
    starts : (n + 1,) int64
        Where those of each row begin.
    """
    n = len(points)
    if n == 1:
        return scores.copy(), np.empty(0, np.int64), np.empty(0), np.zeros(2, np.int64)
    index, gaps = knn(points, min(neighbors, n - 1), probes=probes)
    one, other, gap = np.repeat(np.arange(n), index.shape[1]), index.ravel(), gaps.ravel()
    # Both directions of each edge, once.
    pairs, first = np.unique(np.concatenate([one * n + other, other * n + one]), return_index=True)
    sources, targets, distances = pairs // n, pairs % n, np.concatenate([gap, gap])[first]
    values = scores + np.bincount(sources, np.exp(-distances) * scores[targets], minlength=n)
    return values, targets, distances, np.searchsorted(sources, np.arange(n + 1))
