"""Call a strategy on some of the images: on all of them at once, cluster by cluster, or with a least distance."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.registry import Method
from initpools_cli.core.seeds import generator
from initpools_cli.geometry.distances import squared_distances
from initpools_cli.geometry.neighbors import nearest
from initpools_cli.strategies.arrays import INPUTS, Array, take
from initpools_cli.strategies.selection import Selection, take_turns

Indices = NDArray[np.int64]
NONE: Indices = np.empty(0, np.int64)
#: Picks that are compared with all earlier ones in one step.
BLOCK = 256


@dataclass(frozen=True)
class StrategyCall:
    """A strategy with everything but the images to choose from.

    Attributes
    ----------
    method : Method
    arrays : mapping of str to array
        Its inputs, of all n images.
    knobs : mapping
    seed : int
    clusters : (n,) int64, optional
        What it is spread over: it runs within each cluster, and its picks are dealt out cluster by cluster in ascending
        order, the best of each first.
    """

    method: Method
    arrays: Mapping[str, Array]
    knobs: Mapping[str, Any]
    seed: int
    clusters: Indices | None = None

    def on(self, rows: Indices, labeled: Indices, budget: int, picked: Indices = NONE) -> Selection:
        """Let the strategy choose `budget` of the images in `rows`, and see no others.

        Parameters
        ----------
        rows, labeled : (m,), (l,) int64
            Ascending; `labeled` are among `rows`.
        picked : (p,) int64
            Those of `labeled` that count as picks of their clusters.
        """
        if self.clusters is None:
            rng = generator(self.seed, self.method.name)
            return self._run(rows, labeled, budget, rng)
        owners = self.clusters[rows]
        is_labeled = np.isin(rows, labeled)
        ids = np.unique(owners)
        free = np.bincount(np.searchsorted(ids, owners[~is_labeled]), minlength=len(ids))
        given = np.bincount(np.searchsorted(ids, self.clusters[picked]), minlength=len(ids))
        quotas = np.maximum(round_robin(free + given, budget + int(given.sum())) - given, 0)
        parts = []
        for place in np.flatnonzero(quotas):
            inside = rows[owners == ids[place]]
            rng = generator(self.seed, self.method.name, "cluster", int(ids[place]))
            parts.append(self._run(inside, np.intersect1d(inside, labeled), int(quotas[place]), rng))
        return dealt(joined(parts), self.clusters)

    def _run(self, rows: Indices, labeled: Indices, budget: int, rng: np.random.Generator) -> Selection:
        services = {"n": len(rows), "labeled": np.searchsorted(rows, labeled), "budget": int(budget), "rng": rng}
        asked = inspect.signature(self.method.build).parameters
        own = [*self.method.inputs, *(name for name in self.method.optional if name in self.arrays)]
        given: dict[str, Any] = {name: part(name, self.arrays[name], rows) for name in own}
        given |= {key: value for key, value in services.items() if key in asked}
        selection: Selection = self.method.build(**given, **self.knobs)
        return replace(selection, indices=rows[selection.indices])


def part(name: str, array: Array, rows: Indices) -> Array:
    """The rows of an input, and the array itself where they are all of its rows."""
    axis = INPUTS[name].axis
    return array if axis is not None and len(rows) == array.shape[axis] else take(name, array, rows)


def joined(parts: list[Selection]) -> Selection:
    """One choice after the other as one; what not all of them have is left out."""

    def one(found: list[NDArray[Any] | None]) -> NDArray[Any] | None:
        present = [each for each in found if each is not None]
        return np.concatenate(present) if len(present) == len(found) else None

    return Selection(
        np.concatenate([each.indices for each in parts]),
        one([each.scores for each in parts]),
        one([each.clusters for each in parts]),
        one([each.among for each in parts]),
    )


def dealt(selection: Selection, clusters: Indices) -> Selection:
    """The same picks with the clusters (n,) they are spread over, taken from one cluster after the other in turn."""
    owners = clusters[selection.indices]
    order = take_turns(owners)
    scores = None if selection.scores is None else selection.scores[order]
    return Selection(selection.indices[order], scores, owners[order], selection.among)


def apart(
    call: StrategyCall, points: NDArray[np.float32], rows: Indices, labeled: Indices, budget: int, distance: float
) -> Selection:
    """Let a strategy choose images that are at least `distance` from each other and from those that are labeled.

    It chooses; those of its picks that are closer than that to an earlier one are skipped; and it chooses again, with
    the others as labeled and without all that is closer than that to them, until there are enough or none is left.

    Parameters
    ----------
    call : StrategyCall
    points : (n, d) float32
        What distances are measured on.
    rows, labeled : (m,), (l,) int64
    budget : int
    distance : float
        > 0, Euclidean.

    Returns
    -------
    Selection
        Of `budget` images, or of fewer.
    """
    free = far_from(points, np.setdiff1d(rows, labeled), labeled, distance)
    parts: list[Selection] = []
    picked, among = NONE, None
    while len(picked) < budget and len(free):
        known = np.union1d(labeled, picked)
        found = call.on(np.union1d(free, known), known, min(budget - len(picked), len(free)), picked)
        if not parts and len(free) == len(rows) - len(labeled):
            among = found.among
        far = spaced(points[found.indices], distance)
        parts.append(some(found, far))
        picked = np.concatenate([picked, parts[-1].indices])
        free = far_from(points, np.setdiff1d(free, picked), parts[-1].indices, distance)
    if not parts:
        return Selection(NONE)
    every = joined(parts)
    every = every if call.clusters is None else dealt(every, call.clusters)
    return replace(every, among=among)


def some(selection: Selection, mask: NDArray[np.bool_]) -> Selection:
    """The picks where `mask` (b,) is true."""
    scores, clusters = selection.scores, selection.clusters
    return Selection(
        selection.indices[mask],
        None if scores is None else scores[mask],
        None if clusters is None else clusters[mask],
    )


def far_from(points: NDArray[np.float32], rows: Indices, others: Indices, distance: float) -> Indices:
    """Those of `rows` that are at least `distance` from each of the `others`."""
    if not len(rows) or not len(others):
        return rows
    return rows[nearest(points[rows], points[others])[1] >= distance]


def spaced(points: NDArray[np.float32], distance: float) -> NDArray[np.bool_]:
    """Which points (b, d) are kept where each that is closer than `distance` to one kept before is skipped, (b,)."""
    kept = np.zeros(len(points), bool)
    for start in range(0, len(points), BLOCK):
        block, before = slice(start, start + BLOCK), np.flatnonzero(kept[:start])
        far = np.ones(len(points[block]), bool)
        if len(before):
            far = nearest(points[block], points[before])[1] >= distance
        for row in start + np.flatnonzero(far):
            inside = start + np.flatnonzero(kept[start:row])
            gaps = np.sqrt(squared_distances(points[inside], points[row]))
            kept[row] = (gaps >= distance).all()
    return kept


def round_robin(available: Indices, budget: int) -> Indices:
    """How many each cluster gives when they take turns, one image each, and an exhausted one is skipped.

    Parameters
    ----------
    available : (k,) int64
        What each can give.
    budget : int
        ≤ their sum.

    Returns
    -------
    (k,) int64
        Summing to `budget`.
    """
    quotas = np.zeros_like(available)
    while (left := budget - int(quotas.sum())) > 0:
        open_ = np.flatnonzero(quotas < available)
        turns = left // len(open_)
        if turns == 0:
            quotas[open_[:left]] += 1
        else:
            quotas[open_] += np.minimum(turns, (available - quotas)[open_])
    return quotas
