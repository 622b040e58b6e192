"""What a strategy gives back."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.farthest_first import farthest_first


@dataclass(frozen=True)
class Selection:
    """Images in order of choice.

    Attributes
    ----------
    indices : (budget,) int64
        Distinct rows.
    scores : (budget,) float64, optional
        What made each pick win, where that means something; NaN for what fills the budget up.
    clusters : (budget,) int64, optional
        The cluster of each pick, where there are clusters; -1 for one that has none.
    among : (m,) float64, optional
        Of a choice of the highest scores: those of all images that could be chosen.
    last : (k,) int64
        The images that come after all others, in order, chosen or not: copies of others, then rows of length zero.
    """

    indices: NDArray[np.int64]
    scores: NDArray[np.float64] | None = None
    clusters: NDArray[np.int64] | None = None
    among: NDArray[np.float64] | None = None
    last: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))


def unlabeled_rows(n: int, labeled: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows of n that are not in `labeled`, ascending."""
    free = np.ones(n, bool)
    free[labeled] = False
    return np.flatnonzero(free)


def take_turns(clusters: NDArray[np.int64]) -> NDArray[np.int64]:
    """Deal candidates out cluster by cluster, ascending: the first of each, then the second, skipping exhausted ones.

    Parameters
    ----------
    clusters : (m,) int64
        Of each candidate, the preferred candidates first.

    Returns
    -------
    (m,) int64
        Places in `clusters`, in the order of dealing.
    """
    turn = ranks_within(clusters)
    return np.lexsort((clusters, turn))


def equal_draw(
    clusters: NDArray[np.int64], labeled: NDArray[np.int64], budget: int, rng: np.random.Generator
) -> Selection:
    """Random unlabeled images, cluster by cluster in turn.

    Parameters
    ----------
    clusters : (n,) int64
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator

    Returns
    -------
    Selection
        With clusters.
    """
    rows = rng.permutation(unlabeled_rows(len(clusters), labeled))
    picks = rows[take_turns(clusters[rows])[:budget]]
    return Selection(picks, clusters=clusters[picks])


def ranks_within(clusters: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many before each entry have the same cluster, (m,) int64."""
    together = np.argsort(clusters, kind="stable")
    ordered = clusters[together]
    ranks = np.empty(len(clusters), np.int64)
    ranks[together] = np.arange(len(clusters)) - np.searchsorted(ordered, ordered)
    return ranks


def best_first(scores: NDArray[np.float64], labeled: NDArray[np.int64], budget: int) -> Selection:
    """The `budget` unlabeled rows with the highest scores; of equal ones the lower row first."""
    rows = unlabeled_rows(len(scores), labeled)
    among = scores[rows]
    order = rows[np.argsort(-among, kind="stable")[:budget]]
    return Selection(order, scores=scores[order], among=among)


def go_on_by_distance(
    points: NDArray[np.float32],
    labeled: NDArray[np.int64],
    picks: NDArray[np.int64],
    scores: NDArray[np.float64],
    budget: int,
) -> Selection:
    """Fill the picks up to the budget by the largest distance to all labeled and picked; the scores with zeros."""
    missing = budget - len(picks)
    if missing:
        rest = farthest_first(points, missing, np.concatenate([labeled, picks]))[0]
        picks, scores = np.concatenate([picks, rest]), np.concatenate([scores, np.zeros(missing)])
    return Selection(picks, scores=scores)
