"""Call a strategy on images: on all at once, or within each cluster."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.registry import SAMPLE, Method
from initpools_cli.core.seeds import generator
from initpools_cli.strategies.arrays import take
from initpools_cli.strategies.embeddings import Array, for_method
from initpools_cli.strategies.objective_sample import ObjectiveSample
from initpools_cli.strategies.selection import Selection, ranks_within

Indices = NDArray[np.int64]
NONE: Indices = np.empty(0, np.int64)


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
    prior_picks : (c,) int64
        Labeled images that count as picks of their clusters.
    """

    method: Method
    arrays: Mapping[str, Array]
    knobs: Mapping[str, Any]
    seed: int
    clusters: Indices | None = None
    prior_picks: Indices = field(default_factory=lambda: NONE)

    def on(
        self,
        rows: Indices,
        labeled: Indices,
        budget: int,
        picks: Indices = NONE,
        sample: ObjectiveSample | None = None,
    ) -> Selection:
        """Select `budget` of the images in `rows`; the strategy sees only these.

        Parameters
        ----------
        rows, labeled : (m,), (l,) int64
            Ascending; `labeled` is a subset of `rows`.
        budget : int
        picks : (p,) int64
            Rows of `labeled` that count as picks of their clusters.
        sample : ObjectiveSample, optional
            The rows that the objective is measured on, and those that may be picked. Only without clusters, and for a
            strategy with this parameter.
        """
        if self.clusters is None:
            rng = generator(self.seed, self.method.name)
            return self._run(rows, labeled, budget, rng, sample)
        owners = self.clusters[rows]
        ids, place = np.unique(owners, return_inverse=True)
        order = np.argsort(place, kind="stable")
        inside = np.split(rows[order], np.searchsorted(place[order], np.arange(1, len(ids))))
        free = np.bincount(place[~np.isin(rows, labeled)], minlength=len(ids))
        quotas = round_robin(free, budget, self._used(ids, picks))
        parts = []
        for at in np.flatnonzero(quotas):
            rng = generator(self.seed, self.method.name, "cluster", int(ids[at]))
            parts.append(self._run(inside[at], np.intersect1d(inside[at], labeled), int(quotas[at]), rng))
        return self.interleaved(concatenate(parts))

    def interleaved(self, selection: Selection) -> Selection:
        """Reorder picks round-robin over the clusters, and record their clusters; without clusters do nothing."""
        if self.clusters is None:
            return selection
        owners = self.clusters[selection.indices]
        order = np.lexsort((owners, ranks_within(owners) + self._used(owners)))
        scores = None if selection.scores is None else selection.scores[order]
        return Selection(selection.indices[order], scores, owners[order], selection.candidate_scores)

    def _used(self, ids: Indices, picks: Indices = NONE) -> Indices:
        """Count the images that clusters have already, for each of `ids`."""
        assert self.clusters is not None
        have = np.sort(self.clusters[np.concatenate([self.prior_picks, picks])])
        return np.searchsorted(have, ids, "right") - np.searchsorted(have, ids, "left")

    def _run(
        self,
        rows: Indices,
        labeled: Indices,
        budget: int,
        rng: np.random.Generator,
        sample: ObjectiveSample | None = None,
    ) -> Selection:
        services = {"n": len(rows), "labeled": np.searchsorted(rows, labeled), "budget": int(budget), "rng": rng}
        services |= {} if sample is None else {SAMPLE: sample}
        parameters = inspect.signature(self.method.build).parameters
        names = [*self.method.inputs, *(name for name in self.method.optional if name in self.arrays)]
        arguments: dict[str, Any] = {name: take(name, self.arrays[name], rows) for name in names}
        if "embeddings" in arguments:
            arguments["embeddings"] = for_method(self.method, arguments["embeddings"])
        arguments |= {key: value for key, value in services.items() if key in parameters}
        selection: Selection = self.method.build(**arguments, **self.knobs)
        return replace(selection, indices=rows[selection.indices])


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


def round_robin(available: Indices, budget: int, counts: Indices | None = None) -> Indices:
    """Distribute a budget over clusters, one image at a time to the cluster that has the fewest, then the lowest.

    Parameters
    ----------
    available : (k,) int64
        Number of images in each cluster.
    budget : int
        ≤ their sum.
    counts : (k,) int64, optional
        Number of images that each cluster has already; default: 0.

    Returns
    -------
    (k,) int64
        Summing to `budget`.
    """
    owners = np.repeat(np.arange(len(available)), available)
    level = ranks_within(owners) if counts is None else ranks_within(owners) + counts[owners]
    return np.bincount(owners[np.argsort(level, kind="stable")[:budget]], minlength=len(available))
