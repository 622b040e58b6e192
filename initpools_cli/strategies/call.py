"""Call a strategy on images: on all at once, per cluster, or with a minimum distance."""

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
# Picks compared with earlier ones at once.
BLOCK = 256


@dataclass(frozen=True)
class StrategyCall:
    """Strategy with its arrays, knobs, seed and clusters.

    Attributes
    ----------
    method : Method
    arrays : mapping of str to array
        Its inputs, for all n images.
    knobs : mapping
    seed : int
    clusters : (n,) int64, optional
        Clusters to balance picks over: the strategy runs within each cluster, and its picks are interleaved in
        ascending order of clusters, the best of each first.
    """

    method: Method
    arrays: Mapping[str, Array]
    knobs: Mapping[str, Any]
    seed: int
    clusters: Indices | None = None

    def on(self, rows: Indices, labeled: Indices, budget: int, picked: Indices = NONE) -> Selection:
        """Select `budget` of the images in `rows`; the strategy sees only these.

        Parameters
        ----------
        rows, labeled : (m,), (l,) int64
            Ascending; `labeled` is a subset of `rows`.
        budget : int
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
        used = np.bincount(np.searchsorted(ids, self.clusters[picked]), minlength=len(ids))
        quotas = np.maximum(round_robin(free + used, budget + int(used.sum())) - used, 0)
        parts = []
        for place in np.flatnonzero(quotas):
            inside = rows[owners == ids[place]]
            rng = generator(self.seed, self.method.name, "cluster", int(ids[place]))
            parts.append(self._run(inside, np.intersect1d(inside, labeled), int(quotas[place]), rng))
        return interleave(concatenate(parts), self.clusters)

    def _run(self, rows: Indices, labeled: Indices, budget: int, rng: np.random.Generator) -> Selection:
        services = {"n": len(rows), "labeled": np.searchsorted(rows, labeled), "budget": int(budget), "rng": rng}
        parameters = inspect.signature(self.method.build).parameters
        names = [*self.method.inputs, *(name for name in self.method.optional if name in self.arrays)]
        arguments: dict[str, Any] = {name: part(name, self.arrays[name], rows) for name in names}
        arguments |= {key: value for key, value in services.items() if key in parameters}
        selection: Selection = self.method.build(**arguments, **self.knobs)
        return replace(selection, indices=rows[selection.indices])


def part(name: str, array: Array, rows: Indices) -> Array:
    """Restrict an input to `rows`; returns the array itself if these are all of its rows."""
    axis = INPUTS[name].axis
    return array if axis is not None and len(rows) == array.shape[axis] else take(name, array, rows)


def concatenate(parts: list[Selection]) -> Selection:
    """Concatenate selections; fields that not all of them have are None."""

    def one(arrays: list[NDArray[Any] | None]) -> NDArray[Any] | None:
        present = [each for each in arrays if each is not None]
        return np.concatenate(present) if len(present) == len(arrays) else None

    return Selection(
        np.concatenate([each.indices for each in parts]),
        one([each.scores for each in parts]),
        one([each.clusters for each in parts]),
        one([each.candidate_scores for each in parts]),
    )


def interleave(selection: Selection, clusters: Indices) -> Selection:
    """Reorder picks round-robin over the clusters (n,), and record their clusters."""
    owners = clusters[selection.indices]
    order = take_turns(owners)
    scores = None if selection.scores is None else selection.scores[order]
    return Selection(selection.indices[order], scores, owners[order], selection.candidate_scores)


def select_with_distance(
    call: StrategyCall, points: NDArray[np.float32], rows: Indices, labeled: Indices, budget: int, distance: float
) -> Selection:
    """Select images that are at least `distance` from each other and from labeled images.

    Picks of the strategy that are closer to an earlier pick are skipped. Then the strategy is called again, with the
    remaining picks as labeled and without images too close to them, until the budget is reached or no image is left.

    Parameters
    ----------
    call : StrategyCall
    points : (n, d) float32
        Embeddings for the distances.
    rows, labeled : (m,), (l,) int64
    budget : int
    distance : float
        > 0, Euclidean.

    Returns
    -------
    Selection
        `budget` images, or fewer.
    """
    free = far_from(points, np.setdiff1d(rows, labeled), labeled, distance)
    parts: list[Selection] = []
    picked, candidate_scores = NONE, None
    while len(picked) < budget and len(free):
        known = np.union1d(labeled, picked)
        selection = call.on(np.union1d(free, known), known, min(budget - len(picked), len(free)), picked)
        if not parts and len(free) == len(rows) - len(labeled):
            candidate_scores = selection.candidate_scores
        parts.append(filter_picks(selection, spaced(points[selection.indices], distance)))
        picked = np.concatenate([picked, parts[-1].indices])
        free = far_from(points, np.setdiff1d(free, picked), parts[-1].indices, distance)
    if not parts:
        return Selection(NONE)
    every = concatenate(parts)
    every = every if call.clusters is None else interleave(every, call.clusters)
    return replace(every, candidate_scores=candidate_scores)


def filter_picks(selection: Selection, mask: NDArray[np.bool_]) -> Selection:
    """Keep the picks where `mask` (b,) is true."""
    scores, clusters = selection.scores, selection.clusters
    return Selection(
        selection.indices[mask],
        None if scores is None else scores[mask],
        None if clusters is None else clusters[mask],
    )


def far_from(points: NDArray[np.float32], rows: Indices, others: Indices, distance: float) -> Indices:
    """Return those of `rows` that are at least `distance` from all of `others`."""
    if not len(rows) or not len(others):
        return rows
    return rows[nearest(points[rows], points[others])[1] >= distance]


def spaced(points: NDArray[np.float32], distance: float) -> NDArray[np.bool_]:
    """Mark points (b, d), in order, that are at least `distance` from all points marked before, (b,)."""
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
    """Distribute a budget over clusters round-robin, one image at a time, skipping exhausted clusters.

    Parameters
    ----------
    available : (k,) int64
        Number of images in each cluster.
    budget : int
        ≤ their sum.

    Returns
    -------
    (k,) int64
        Summing to `budget`.
    """
    quotas = np.zeros_like(available)
    while (left := budget - int(quotas.sum())) > 0:
        unfilled = np.flatnonzero(quotas < available)
        turns = left // len(unfilled)
        if turns == 0:
            quotas[unfilled[:left]] += 1
        else:
            quotas[unfilled] += np.minimum(turns, (available - quotas)[unfilled])
    return quotas
