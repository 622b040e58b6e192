"""Result of a strategy, and helpers that build it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.farthest_first import farthest_first


@dataclass(frozen=True)
class Selection:
    """Selected images in order of selection.

    Attributes
    ----------
    indices : (budget,) int64
        Distinct rows.
    scores : (budget,) float64, optional
        Score of each pick; NaN for copies and zero rows that fill the budget.
    clusters : (budget,) int64, optional
        Cluster of each pick; -1 for none.
    candidate_scores : (m,) float64, optional
        Scores of all candidates, if the picks are those with the highest.
    fallback : (k,) int64
        Copies, then zero rows, in the order in which they are selected after all others; picked or not.
    near_copies : (c,) int64
        Images that `semdedup` leaves out, ascending.
    """

    indices: NDArray[np.int64]
    scores: NDArray[np.float64] | None = None
    clusters: NDArray[np.int64] | None = None
    candidate_scores: NDArray[np.float64] | None = None
    fallback: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    near_copies: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))


def unlabeled_rows(n: int, labeled: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows of n that are not in `labeled`, ascending."""
    free = np.ones(n, bool)
    free[labeled] = False
    return np.flatnonzero(free)


def take_turns(clusters: NDArray[np.int64]) -> NDArray[np.int64]:
    """Order candidates round-robin over clusters, ascending: the first of each, then the second, and so on.

    Parameters
    ----------
    clusters : (m,) int64
        Cluster of each candidate, the preferred candidates first.

    Returns
    -------
    (m,) int64
        Positions in `clusters`.
    """
    turn = ranks_within(clusters)
    return np.lexsort((clusters, turn))


def equal_draw(
    clusters: NDArray[np.int64], labeled: NDArray[np.int64], budget: int, rng: np.random.Generator
) -> Selection:
    """Draw random unlabeled images, round-robin over clusters.

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
    """Count the earlier entries with the same cluster, (m,) int64."""
    order = np.argsort(clusters, kind="stable")
    sorted_clusters = clusters[order]
    ranks = np.empty(len(clusters), np.int64)
    ranks[order] = np.arange(len(clusters)) - np.searchsorted(sorted_clusters, sorted_clusters)
    return ranks


def best_first(scores: NDArray[np.float64], labeled: NDArray[np.int64], budget: int) -> Selection:
    """Take the `budget` unlabeled rows with the highest scores; ties go to the lower row."""
    rows = unlabeled_rows(len(scores), labeled)
    candidate_scores = scores[rows]
    order = rows[np.argsort(-candidate_scores, kind="stable")[:budget]]
    return Selection(order, scores=scores[order], candidate_scores=candidate_scores)


def fill_by_distance(
    points: NDArray[np.float32],
    labeled: NDArray[np.int64],
    picks: NDArray[np.int64],
    scores: NDArray[np.float64],
    budget: int,
    candidates: NDArray[np.bool_] | None = None,
) -> Selection:
    """Fill the budget by farthest-first traversal from labeled images and picks, with scores of 0.

    Parameters
    ----------
    points : (n, d) float32
    labeled, picks : (m,), (k,) int64
    scores : (k,) float64
    budget : int
    candidates : (n,) bool, optional
        Images that may be picked; default: all.
    """
    missing = budget - len(picks)
    if missing:
        earlier_picks = np.concatenate([labeled, picks])
        if candidates is None:
            rest = farthest_first(points, missing, earlier_picks)[0]
        else:
            rows = np.union1d(np.flatnonzero(candidates), earlier_picks)
            rest = rows[farthest_first(points[rows], missing, np.searchsorted(rows, earlier_picks))[0]]
        picks, scores = np.concatenate([picks, rest]), np.concatenate([scores, np.zeros(missing)])
    return Selection(picks, scores=scores)
