"""Limits on the picks of any strategy: a minimum distance, and a number of images per group."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.distances import squared_distances
from initpools_cli.geometry.neighbors import nearest
from initpools_cli.strategies.call import NONE, Indices, StrategyCall, concatenate
from initpools_cli.strategies.groups import PerGroup
from initpools_cli.strategies.selection import Selection, ranks_within

# Picks compared with earlier ones at once.
BLOCK = 256


@dataclass(frozen=True)
class MinDistance:
    """Picks and labeled images are at least `distance` (> 0, Euclidean) from each other.

    Attributes
    ----------
    points : (n, d) float32
    distance : float
    """

    points: NDArray[np.float32]
    distance: float

    def far_from(self, rows: Indices, others: Indices) -> Indices:
        """Return those of `rows` that are far enough from all of `others`."""
        if not len(rows) or not len(others):
            return rows
        return rows[nearest(self.points[rows], self.points[others])[1] >= self.distance]

    def spaced(self, picks: Indices) -> NDArray[np.bool_]:
        """Mark picks, in order, that are far enough from all that are marked before."""
        points, is_spaced = self.points[picks], np.zeros(len(picks), bool)
        for start in range(0, len(points), BLOCK):
            block, before = slice(start, start + BLOCK), np.flatnonzero(is_spaced[:start])
            far = np.ones(len(points[block]), bool)
            if len(before):
                far = nearest(points[block], points[before])[1] >= self.distance
            for row in start + np.flatnonzero(far):
                inside = start + np.flatnonzero(is_spaced[start:row])
                gaps = np.sqrt(squared_distances(points[inside], points[row]))
                is_spaced[row] = (gaps >= self.distance).all()
        return is_spaced


def select_within(
    call: StrategyCall,
    rows: Indices,
    labeled: Indices,
    budget: int,
    apart: MinDistance | None = None,
    per_group: PerGroup | None = None,
) -> Selection:
    """Select images within limits.

    Picks of the strategy that break a limit are skipped. Then the strategy is called again, with the remaining picks as
    labeled and without images that would break one, until the budget is reached or no image is left.

    Parameters
    ----------
    call : StrategyCall
    rows, labeled : (m,), (l,) int64
        Ascending; `labeled` is a subset of `rows`.
    budget : int
    apart : MinDistance, optional
    per_group : PerGroup, optional

    Returns
    -------
    Selection
        `budget` images, or fewer if `apart` leaves fewer.
    """
    free = np.setdiff1d(rows, labeled)
    free = free if apart is None else apart.far_from(free, labeled)
    parts: list[Selection] = []
    picks, candidate_scores = NONE, None
    while len(picks) < budget and len(free):
        unavailable = np.union1d(labeled, picks)
        candidates, most = free, len(free)
        if per_group is not None:
            room = per_group.room(free, picks)
            owners = per_group.groups[free]
            candidates = free[room[owners] > 0]
            most = int(np.minimum(room, np.bincount(owners, minlength=len(room))).sum())
        selection = call.on(np.union1d(candidates, unavailable), unavailable, min(budget - len(picks), most), picks)
        if not parts and len(candidates) == len(rows) - len(labeled):
            candidate_scores = selection.candidate_scores
        if apart is not None:
            selection = filter_picks(selection, apart.spaced(selection.indices))
        if per_group is not None:
            owners = per_group.groups[selection.indices]
            selection = filter_picks(selection, ranks_within(owners) < room[owners])
        parts.append(selection)
        picks = np.concatenate([picks, selection.indices])
        free = np.setdiff1d(free, picks)
        free = free if apart is None else apart.far_from(free, selection.indices)
    if not parts:
        return Selection(NONE)
    return replace(call.interleaved(concatenate(parts)), candidate_scores=candidate_scores)


def filter_picks(selection: Selection, mask: NDArray[np.bool_]) -> Selection:
    """Keep the picks where `mask` (b,) is true."""
    scores, clusters = selection.scores, selection.clusters
    return Selection(
        selection.indices[mask],
        None if scores is None else scores[mask],
        None if clusters is None else clusters[mask],
    )
