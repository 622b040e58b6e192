"""Validate inputs, run a strategy, check its picks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from initpools_cli.core.capacity import require_memory
from initpools_cli.core.config import DEFAULT_CLUSTERS, SelectTable
from initpools_cli.core.errors import UserError
from initpools_cli.core.registry import Method
from initpools_cli.core.seeds import generator
from initpools_cli.geometry.kmeans import kmeans
from initpools_cli.geometry.near_copies import similarity_to_earlier
from initpools_cli.geometry.rows import Rows
from initpools_cli.strategies.arrays import INPUTS, inputs_of, refuse_missing, take
from initpools_cli.strategies.call import NONE, StrategyCall
from initpools_cli.strategies.candidates import Candidates, candidates_of, images_of
from initpools_cli.strategies.checks import check_settings, refuse_constant, refuse_equal_points
from initpools_cli.strategies.duplicates import RowFacts, fallback_order
from initpools_cli.strategies.embeddings import SAMPLED, Array, as_embeddings
from initpools_cli.strategies.groups import PerGroup, shuffled
from initpools_cli.strategies.limits import MinDistance, select_within
from initpools_cli.strategies.partitions import check_partition_size, check_partitions, select_in_rounds
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.runtime import MEASURED
from initpools_cli.strategies.selection import Selection
from initpools_cli.strategies.traits import StrategyTraits


def choose(
    strategy: str | Method[StrategyTraits],
    inputs: Mapping[str, ArrayLike],
    budget: int,
    *,
    labeled: ArrayLike | None = None,
    exclude: ArrayLike | None = None,
    n: int | None = None,
    seed: int = 0,
    normalize: bool = True,
    balance: str = "none",
    n_clusters: int = 0,
    sample: int = 0,
    copies: str = "last",
    min_distance: float = 0.0,
    semdedup: float = 0.0,
    per_group: int = 0,
    partitions: int = 1,
    knobs: Mapping[str, Any] | None = None,
    prepared: Mapping[str, Array] | None = None,
    facts: RowFacts | None = None,
    budget_name: str = "budget=",
) -> Selection:
    """Select `budget` of n images to label.

    Parameters
    ----------
    strategy : str or Method
        Name or alias, or the strategy itself.
    inputs : mapping of str to array
        By the names of `strategies.arrays.INPUTS`; optional inputs may be None or missing, unused ones are ignored.
    budget : int
        Number of images, ≥ 1.
    labeled, exclude : (m,) int or (n,) bool, optional
        Images already labeled; images to ignore completely.
    n : int, optional
        Number of images, needed if no input has it.
    seed : int
        Determines all random draws.
    normalize : bool
        Scale embeddings to length 1; zero rows stay zero.
    balance : {"none", "kmeans", "clusters", "groups"}
        Distribute picks evenly over k-means clusters of the embeddings, over ``inputs["clusters"]``, or over
        ``inputs["groups"]``: the strategy runs within each cluster, and its picks are interleaved in ascending order of
        clusters, the best of each first. The order of groups is random, and labeled images count as picks of theirs.
    n_clusters : int
        For "kmeans"; 0 means 20.
    sample : int
        Select from a random sample of this many unlabeled images, ignoring the others; 0 means all.
    copies : {"last", "any"}
        Of images with equal embeddings the lowest (or a labeled one) is the original, and the others are copies.
        "last": the strategy does not see copies, and they fill the budget once no original is left. "any": copies are
        treated like other images. The strategy never sees zero rows, which come after all others.
    min_distance : float
        Skip images closer than this to a pick or a labeled image, in the embedding space of the strategy. If > 0,
        copies and zero rows are never selected.
    semdedup : float
        Leave out unlabeled images whose `near_copies.similarity_to_earlier` exceeds 1 − `semdedup`; labeled images come
        first, so that near-copies of them are left out. Among images of the sample, if there is one. 0 means none.
    per_group : int
        Select at most this many images of each of ``inputs["groups"]`` while other groups have images left, then this
        many more of each, and so on; labeled images count. 0 means no limit. Copies and zero rows still come last.
    partitions : int
        > 1: select from this many random partitions first, then from their picks; see `select_in_rounds`.
    knobs : mapping, optional
        Knobs of the strategy.
    prepared : mapping of str to array, optional
        Further inputs from `prepare`, neither validated nor scaled again.
    facts : RowFacts, optional
        Facts about all n rows of the embeddings that the strategy reads or its scores are computed from. Default:
        computed from the embeddings or patches that it reads. Without any, `copies` and `min_distance` have no effect.

    budget_name : str
        Name of the budget in errors.

    Returns
    -------
    Selection
        Exactly `budget` distinct images, neither labeled nor excluded; with `min_distance` or `semdedup` maybe fewer,
        at least one.

    Raises
    ------
    UserError
        If an input or a setting is not valid.
    """
    method = strategies.get(strategy) if isinstance(strategy, str) else strategy
    values = method.validate(knobs or {})
    check_settings(balance, n_clusters, sample, copies, min_distance, semdedup, per_group)
    check_partitions(method, partitions, balance, min_distance, per_group)
    ready = prepared or {}
    arrays = _checked(method, inputs, ready, balance, per_group)
    images = images_of({**inputs, **ready}, n)
    candidates = candidates_of(images, labeled, exclude, budget, sample=sample, seed=seed, budget_name=budget_name)
    near_copies = _near_copies(method, arrays, facts, candidates, semdedup, seed) if semdedup else NONE
    rows = np.setdiff1d(candidates.rows, near_copies, assume_unique=True)
    if len(rows) < candidates.total:
        arrays = {name: take(name, array, rows) for name, array in arrays.items()}
    if "scores" in arrays:
        refuse_constant(arrays["scores"])
    facts = _facts(arrays, rows, facts)
    arrays |= _scaled({name: array for name, array in arrays.items() if name not in ready}, normalize)
    if method.traits.check is not None:
        method.traits.check(arrays, values)
    labeled_rows = np.flatnonzero(np.isin(rows, candidates.labeled))
    visible, is_copy = _visible(arrays, facts, labeled_rows, copies, len(rows))
    clusters = _clusters(arrays, visible, balance, n_clusters, seed)
    call = StrategyCall(method, arrays, values, seed, clusters, labeled_rows if balance == "groups" else NONE)
    apart = MinDistance(_points(call, facts, rows, normalize), min_distance) if min_distance else None
    limit = PerGroup(arrays["groups"], per_group, labeled_rows) if per_group else None
    labeled_visible = np.intersect1d(labeled_rows, visible, assume_unique=True)
    count = min(int(budget), len(visible) - len(labeled_visible))
    check_partition_size(len(visible) - len(labeled_visible), partitions, count)
    selection = _select(call, visible, labeled_visible, count, partitions, apart, limit)
    if facts is not None:
        missing = 0 if min_distance else min(int(budget), len(rows) - len(labeled_rows)) - count
        selection = _with_fallback(selection, call, facts, is_copy, labeled_rows, missing, limit)
    if not len(selection.indices):
        raise UserError(
            f"All images are closer than min_distance={min_distance:g} to a labeled image.",
            "Use a smaller min_distance.",
            f"{min_distance:g}",
        )
    if balance == "groups":
        selection = replace(selection, clusters=arrays["groups"][selection.indices])
    result = replace(
        selection, indices=rows[selection.indices], fallback=rows[selection.fallback], near_copies=near_copies
    )
    _check_contract(method.name, result, candidates.free, budget, exact=not (min_distance or semdedup))
    return result


def common_settings(select: SelectTable) -> dict[str, Any]:
    """Return the settings of [select] that `choose` has for every strategy, by keyword."""
    names = ("normalize", "sample", "copies", "min_distance", "semdedup", "per_group")
    return {name: getattr(select, name) for name in names}


def prepare(inputs: Mapping[str, ArrayLike], normalize: bool) -> dict[str, Array]:
    """Validate inputs and scale embeddings once for several calls of `choose`.

    Raises
    ------
    UserError
        If an input is not valid.
    """
    arrays = {name: INPUTS[name].check(array) for name, array in inputs.items()}
    return arrays | _scaled(arrays, normalize)


def _scaled(arrays: Mapping[str, Array], normalize: bool) -> dict[str, Array]:
    """Return the embeddings among validated inputs, as float32 and scaled to length 1."""
    return {
        name: as_embeddings(arrays[name], normalize, name) for name in ("embeddings", "query_set") if name in arrays
    }


def _clusters(
    arrays: Mapping[str, Array], visible: NDArray[np.int64], balance: str, n_clusters: int, seed: int
) -> NDArray[np.int64] | None:
    """Return the cluster of each image (n,); groups are numbered in random order, images out of sight are -1."""
    if balance == "kmeans":
        points = take("embeddings", arrays["embeddings"], visible)
        k = min(n_clusters or DEFAULT_CLUSTERS, len(visible))
        clusters = np.full(len(arrays["embeddings"]), -1)
        clusters[visible] = kmeans(points, k, generator(seed, "balance", k)).labels
        return clusters
    if balance == "groups":
        return shuffled(arrays["groups"], seed)
    return arrays.get("clusters") if balance == "clusters" else None


def _checked(
    method: Method, inputs: Mapping[str, ArrayLike], prepared: Mapping[str, Array], balance: str, per_group: int
) -> dict[str, Array]:
    names, both = inputs_of(method, balance, per_group), {**inputs, **prepared}
    refuse_missing(method.name, names, both)
    present = [name for name in method.optional if both.get(name) is not None]
    return {
        name: prepared[name] if name in prepared else INPUTS[name].check(inputs[name])
        for name in dict.fromkeys([*names, *present])
    }


def _near_copies(
    method: Method,
    arrays: Mapping[str, Array],
    facts: RowFacts | None,
    candidates: Candidates,
    semdedup: float,
    seed: int,
) -> NDArray[np.int64]:
    """Return the unlabeled images that are near-copies of labeled or earlier ones, ascending.

    Raises
    ------
    UserError
        If the strategy reads no embeddings, or all images are near-copies of labeled ones.
    """
    points = arrays.get("embeddings", None if facts is None else facts.array)
    if points is None or points.ndim != 2:
        raise UserError(
            f"semdedup has no effect: '{method.name}' reads no embeddings.", "Leave out semdedup.", "semdedup"
        )
    rows = candidates.rows
    is_labeled = np.isin(rows, candidates.labeled)
    rng = generator(seed, "semdedup")
    near = take("embeddings", points, rows)
    view: object = near
    if isinstance(view, Rows):
        require_memory(view.size * 4, "semdedup reads all embeddings at once. As float32 they take", SAMPLED)
        near = view.read()
    similar = similarity_to_earlier(near, rng, first=is_labeled)
    left_out = rows[(similar > 1 - semdedup) & ~is_labeled]
    if len(left_out) + is_labeled.sum() == len(rows):
        raise UserError(
            f"All images are near-copies of labeled images by semdedup={semdedup:g}.",
            "Use a smaller semdedup.",
            f"{semdedup:g}",
        )
    return left_out


def _facts(arrays: Mapping[str, Array], rows: NDArray[np.int64], facts: RowFacts | None) -> RowFacts | None:
    """Return facts about the embeddings of the images in `rows`; None for a strategy without embeddings."""
    if facts is not None:
        return facts if len(rows) == len(facts.original) else facts.take(rows)
    name = next((name for name in ("embeddings", "patches") if name in arrays), None)
    return None if name is None else RowFacts.of(arrays[name])


def _visible(
    arrays: Mapping[str, Array], facts: RowFacts | None, labeled: NDArray[np.int64], copies: str, n: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the images that the strategy sees, ascending, and which of all n are copies that come last.

    Raises
    ------
    UserError
        If all embeddings are equal.
    """
    if facts is None:
        return np.arange(n), np.zeros(n, bool)
    facts.refuse_equal()
    is_copy = facts.copies(labeled) if copies == "last" else np.zeros(n, bool)
    visible = np.flatnonzero(~is_copy & ~facts.zero)
    if "embeddings" in arrays:
        refuse_equal_points(arrays["embeddings"], visible, n)
    return visible, is_copy


def _select(
    call: StrategyCall,
    rows: NDArray[np.int64],
    labeled: NDArray[np.int64],
    budget: int,
    partitions: int,
    apart: MinDistance | None,
    limit: PerGroup | None,
) -> Selection:
    """Select `budget` of the images in `rows`: within limits, from partitions first, or at once."""
    if not budget:
        return Selection(NONE)
    if apart is not None or limit is not None:
        return select_within(call, rows, labeled, budget, apart, limit)
    if partitions > 1:
        return select_in_rounds(call, rows, labeled, budget, partitions, MEASURED)
    return call.on(rows, labeled, budget)


def _with_fallback(
    selection: Selection,
    call: StrategyCall,
    facts: RowFacts,
    copies: NDArray[np.bool_],
    labeled: NDArray[np.int64],
    missing: int,
    limit: PerGroup | None,
) -> Selection:
    """Fill the selection with copies and zero rows, whose scores are NaN, and list all of them in `fallback`."""
    fallback = fallback_order(selection, facts, copies, labeled)
    if limit is not None:
        copy_rows = limit.in_order(fallback[copies[fallback]], selection.indices)
        zero = limit.in_order(fallback[~copies[fallback]], np.concatenate([selection.indices, copy_rows]))
        fallback = np.concatenate([copy_rows, zero])
    fill = fallback[:missing]
    if not len(fill):
        return replace(selection, fallback=fallback)
    scores, clusters = selection.scores, selection.clusters
    if clusters is not None:
        of_picks = dict(zip(facts.original[selection.indices].tolist(), clusters.tolist(), strict=True))
        own = [of_picks.get(group, -1) for group in facts.original[fill].tolist()]
        clusters = np.concatenate([clusters, own if call.clusters is None else call.clusters[fill]])
    return Selection(
        np.concatenate([selection.indices, fill]),
        None if scores is None else np.concatenate([scores, np.full(len(fill), np.nan)]),
        clusters,
        selection.candidate_scores,
        fallback,
    )


def _points(
    call: StrategyCall, facts: RowFacts | None, rows: NDArray[np.int64], normalize: bool
) -> NDArray[np.float32]:
    """Return the embeddings that the strategy reads, or that its scores are computed from, scaled as for it."""
    if "embeddings" in call.arrays:
        return call.arrays["embeddings"]
    if facts is None or facts.array is None or facts.array.ndim != 2:
        raise UserError(
            f"min_distance has no effect: '{call.method.name}' reads no embeddings.",
            "Leave out min_distance.",
            "min_distance",
        )
    return as_embeddings(take("embeddings", facts.array, rows), normalize)


def _check_contract(strategy: str, selection: Selection, free: NDArray[np.int64], budget: int, *, exact: bool) -> None:
    indices = selection.indices
    count = len(indices)
    enough = count == budget if exact else count <= budget
    if not enough or len(np.unique(indices)) != count or not np.isin(indices, free).all():
        raise RuntimeError(f"strategy '{strategy}' broke its contract: not {budget} distinct unlabeled images")
