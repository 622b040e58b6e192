"""The one door to every strategy: checks once, keeps excluded images out, balances over clusters, checks the picks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from initpools_cli.core.config import DEFAULT_CLUSTERS
from initpools_cli.core.errors import UserError, nearest
from initpools_cli.core.registry import Method
from initpools_cli.core.seeds import generator
from initpools_cli.geometry.kmeans import kmeans
from initpools_cli.strategies.arrays import (
    INPUTS,
    Array,
    as_embeddings,
    image_axis,
    inputs_of,
    integers,
    refuse_missing,
    take,
)
from initpools_cli.strategies.balance import BALANCES
from initpools_cli.strategies.call import NONE, StrategyCall, apart, part
from initpools_cli.strategies.checks import refuse_constant, refuse_one_point
from initpools_cli.strategies.duplicates import RowFacts, last_of_all
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection

COPIES = ("last", "any")


def choose(
    strategy: str,
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
    knobs: Mapping[str, Any] | None = None,
    prepared: Mapping[str, Array] | None = None,
    facts: RowFacts | None = None,
) -> Selection:
    """Choose `budget` of n images to label.

    Parameters
    ----------
    strategy : str
        Name or alias.
    inputs : mapping of str to array
        By the names of `strategies.inputs.INPUTS`; more than the strategy asks for does no harm, and what it can do
        without may be None or missing.
    budget : int
        How many, ≥ 1.
    labeled, exclude : (m,) int or (n,) bool, optional
        Images already labeled; images not to be seen at all.
    n : int, optional
        The number of images, where no input tells.
    seed : int
        Decides everything that is drawn.
    normalize : bool
        Scale embeddings to length 1; zero rows stay zero.
    balance : {"none", "kmeans", "clusters"}
        Spread evenly over the k-means clusters of the embeddings, or over ``inputs["clusters"]``: the strategy runs
        within each cluster, and its picks are dealt out cluster by cluster in ascending order, the best of each first.
    n_clusters : int
        For "kmeans"; 0 means 20.
    sample : int
        Choose among so many of the unlabeled images, drawn at random, and see none but them and the labeled ones; 0
        means all.
    copies : {"last", "any"}
        Of images with equal embeddings, of which one may be labeled, the lowest is the original. "last": the others are
        not seen by the strategy and fill the budget once no original is left; "any": they are images as any other.
        Rows of length zero are never seen by it, and come after all others.
    min_distance : float
        Skip images that are closer than this to a pick or to a labeled image, in the space that the strategy sees. With
        one > 0 copies and rows of length zero are not chosen at all.
    knobs : mapping, optional
        The strategy's own.
    prepared : mapping of str to array, optional
        Further inputs, from `prepare`: neither checked nor scaled again.
    facts : Rows, optional
        What is known of all n rows of the embeddings that the strategy reads, or that its scores are made of. Default:
        found in the embeddings or patches that it reads. Without any, `copies` and `min_distance` mean nothing.

    Returns
    -------
    Selection
        Exactly `budget` distinct images, neither labeled nor excluded; or fewer, at least one, with `min_distance`.

    Raises
    ------
    UserError
        Whatever is wrong with what was brought.
    """
    method = strategies.get(strategy)
    values = method.validate(knobs or {})
    if balance not in BALANCES:
        guess = nearest(balance, BALANCES)
        hint = f"Did you mean '{guess}'? " if guess else ""
        raise UserError(f"balance = '{balance}' is not valid.", f"{hint}It is one of {', '.join(BALANCES)}.")
    if sample < 0:
        raise UserError(f"sample={sample} must be ≥ 1, or 0 for all images.", "Set another number.")
    if n_clusters < 0:
        raise UserError(f"n_clusters={n_clusters} must be ≥ 1, or 0 for {DEFAULT_CLUSTERS}.", "Set another number.")
    if copies not in COPIES:
        raise UserError(f"copies = '{copies}' is not valid.", f"It is one of {', '.join(COPIES)}.")
    if not 0 <= min_distance < np.inf:
        raise UserError(f"min_distance={min_distance} must be ≥ 0 and finite.", "Set another number.")
    ready = prepared or {}
    arrays = _checked(method, inputs, ready, balance)
    images = images_of({**inputs, **ready}, n)
    total = int(images[-1]) + 1
    bought = as_rows("labeled", labeled, total)
    excluded = as_rows("exclude", exclude, total)
    rows = np.setdiff1d(images, excluded, assume_unique=True)
    free = np.setdiff1d(rows, bought, assume_unique=True)
    refuse_none_left(len(free), len(rows))
    _check_budget(budget, len(free))
    if 0 < sample < len(free):
        free = _sampled(free, sample, budget, seed)
        rows = np.union1d(free, np.intersect1d(rows, bought, assume_unique=True))
    if len(rows) < total:
        arrays = {name: take(name, array, rows) for name, array in arrays.items()}
    if "scores" in arrays:
        refuse_constant(arrays["scores"])
    facts = _facts(method, arrays, rows, facts)
    if "embeddings" in arrays and "embeddings" not in ready:
        arrays["embeddings"] = as_embeddings(arrays["embeddings"], normalize)
    if method.traits.check is not None:
        method.traits.check(arrays, values)
    known = np.flatnonzero(np.isin(rows, bought))
    seen, repeated = np.arange(len(rows)), np.zeros(len(rows), bool)
    if facts is not None:
        facts.refuse_equal()
        repeated = facts.copies(known) if copies == "last" else repeated
        seen = np.flatnonzero(~repeated & ~facts.zero)
        if "embeddings" in arrays:
            refuse_one_point(arrays["embeddings"], seen, len(rows))
    clusters = arrays.get("clusters") if balance == "clusters" else None
    if balance == "kmeans":
        k = min(n_clusters or DEFAULT_CLUSTERS, len(seen))
        clusters = np.full(len(rows), -1)
        clusters[seen] = kmeans(part("embeddings", arrays["embeddings"], seen), k, generator(seed, "balance", k)).labels
    call = StrategyCall(method, arrays, values, seed, clusters)
    labeled_seen = np.intersect1d(known, seen, assume_unique=True)
    wanted = min(int(budget), len(seen) - len(labeled_seen))
    if not wanted:
        selection = Selection(NONE)
    elif min_distance:
        points = arrays.get("embeddings")
        if points is None:
            points = _points(method, facts, rows, normalize)
        selection = apart(call, points, seen, labeled_seen, wanted, min_distance)
    else:
        selection = call.on(seen, labeled_seen, wanted)
    if facts is not None:
        missing = 0 if min_distance else int(budget) - wanted
        selection = _with_last(selection, call, facts, repeated, known, missing)
    if not len(selection.indices):
        raise UserError(
            f"Every image is closer than min_distance={min_distance:g} to one that is labeled.", "Set a smaller one."
        )
    chosen = replace(selection, indices=rows[selection.indices], last=rows[selection.last])
    _check_contract(method.name, chosen, free, budget, exact=not min_distance)
    return chosen


def prepare(inputs: Mapping[str, ArrayLike], normalize: bool) -> dict[str, Array]:
    """The inputs checked, and embeddings scaled, once for many choices; see `choose`.

    Raises
    ------
    UserError
        Whatever is wrong with them.
    """
    checked = {name: INPUTS[name].check(array) for name, array in inputs.items()}
    if "embeddings" in checked:
        checked["embeddings"] = as_embeddings(checked["embeddings"], normalize)
    return checked


def images_of(inputs: Mapping[str, ArrayLike], n: int | None = None) -> NDArray[np.int64]:
    """The images there are, ascending: as many as the arrays have rows, or those that a ranking alone names.

    Parameters
    ----------
    inputs : mapping of str to array
        By the names of `strategies.inputs.INPUTS`; all of them are looked at, needed or not.
    n : int, optional
        How many there are, where that is known.

    Raises
    ------
    UserError
        Shapes that the inputs can't have, numbers of images that differ, or a ranking that names no image, one that
        there is not, or one twice.
    """
    counts = {} if n is None else {"the data set": n}
    for name, given in inputs.items():
        if name in INPUTS and given is not None:
            shape = np.shape(given)
            axis = image_axis(name, shape)
            counts |= {} if axis is None else {name: shape[axis]}
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise UserError(f"The numbers of images differ: {said}.", "Bring arrays of the same images in the same order.")
    total = next(iter(counts.values()), None)
    order = inputs.get("order")
    if order is None:
        if total is None:
            raise ValueError("neither an input nor n tells how many images there are")
        return np.arange(total)
    ranking = INPUTS["order"].check(order)
    if not len(ranking):
        raise UserError("The ranking names no image.", "Bring one that names some.")
    named = as_rows("The ranking", ranking, int(ranking.max()) + 1 if total is None else total)
    return named if total is None else np.arange(total)


def refuse_none_left(available: int, images: int) -> None:
    """Refuse to choose where every one of the images is labeled.

    Raises
    ------
    UserError
        None is available.
    """
    if not images:
        raise UserError("Every image is excluded: none is left.", "Exclude fewer.")
    if not available:
        raise UserError(f"All {images} images are labeled: none is left.", "Name fewer as labeled.")


def as_rows(name: str, given: ArrayLike | None, n: int) -> NDArray[np.int64]:
    """Image indices, ascending, from indices or from a mask of all n images.

    Raises
    ------
    UserError
        Neither; a mask of another length; an index out of range or repeated.
    """
    if given is None:
        return np.empty(0, np.int64)
    array = np.asarray(given)
    if array.dtype == bool:
        if array.shape != (n,):
            raise UserError(
                f"{name} is a mask of shape {array.shape}, but there are {n} images.", f"It must be ({n},)."
            )
        return np.flatnonzero(array)
    rows = np.sort(integers(name, array))
    outside = rows[(rows < 0) | (rows >= n)]
    if len(outside):
        raise UserError(f"{name} names image {outside[0]}, but there are {n}.", f"Indices go from 0 to {n - 1}.")
    repeated = rows[1:][np.diff(rows) == 0]
    if len(repeated):
        raise UserError(f"{name} names image {repeated[0]} more than once.", "Name each image once.")
    return rows


def _checked(
    method: Method, inputs: Mapping[str, ArrayLike], prepared: Mapping[str, Array], balance: str
) -> dict[str, Array]:
    needed, both = inputs_of(method, balance), {**inputs, **prepared}
    refuse_missing(method.name, needed, both)
    there = [name for name in method.optional if both.get(name) is not None]
    return {
        name: prepared[name] if name in prepared else INPUTS[name].check(inputs[name])
        for name in dict.fromkeys([*needed, *there])
    }


def _check_budget(budget: int, available: int) -> None:
    if isinstance(budget, bool) or not isinstance(budget, int | np.integer):
        raise UserError(f"budget={budget!r} is not a whole number.", "Ask for a whole number of images.")
    if budget < 1:
        raise UserError(f"budget={budget} must be ≥ 1.", "Ask for at least one image.")
    if budget > available:
        raise UserError(f"budget={budget} must be ≤ n_unlabeled={available}.", "Ask for fewer images.")


def _sampled(free: NDArray[np.int64], sample: int, budget: int, seed: int) -> NDArray[np.int64]:
    if sample < budget:
        raise UserError(f"sample={sample} must be ≥ budget={budget}.", "Choose among more images, or 0 for all.")
    return np.sort(generator(seed, "sample").choice(free, sample, replace=False))


def _facts(
    method: Method, arrays: Mapping[str, Array], rows: NDArray[np.int64], given: RowFacts | None
) -> RowFacts | None:
    """What is known of the embeddings of the images in `rows`; None for a strategy that is not about embeddings."""
    if given is not None:
        return given if len(rows) == len(given.original) else given.take(rows)
    read = next((name for name in ("embeddings", "patches") if name in arrays), None)
    return None if read is None else RowFacts.of(arrays[read])


def _with_last(
    selection: Selection,
    call: StrategyCall,
    facts: RowFacts,
    copies: NDArray[np.bool_],
    labeled: NDArray[np.int64],
    missing: int,
) -> Selection:
    """The selection, filled up by what comes after all other images, in order; scores are NaN there."""
    last = last_of_all(selection, facts, copies, labeled)
    fill = last[:missing]
    if not len(fill):
        return replace(selection, last=last)
    scores, clusters = selection.scores, selection.clusters
    if clusters is not None:
        of_picks = dict(zip(facts.original[selection.indices].tolist(), clusters.tolist(), strict=True))
        own = [of_picks.get(group, -1) for group in facts.original[fill].tolist()]
        clusters = np.concatenate([clusters, own if call.clusters is None else call.clusters[fill]])
    return Selection(
        np.concatenate([selection.indices, fill]),
        None if scores is None else np.concatenate([scores, np.full(len(fill), np.nan)]),
        clusters,
        selection.among,
        last,
    )


def _points(method: Method, facts: RowFacts | None, rows: NDArray[np.int64], normalize: bool) -> NDArray[np.float32]:
    """The embeddings that a strategy's scores are made of, as it would see them."""
    if facts is None or facts.array is None or facts.array.ndim != 2:
        raise UserError(f"'{method.name}' reads no embeddings here, so min_distance means nothing.", "Leave it out.")
    return as_embeddings(part("embeddings", facts.array, rows), normalize)


def _check_contract(strategy: str, selection: Selection, free: NDArray[np.int64], budget: int, *, exact: bool) -> None:
    indices = selection.indices
    count = len(indices)
    enough = count == budget if exact else count <= budget
    if not enough or len(np.unique(indices)) != count or not np.isin(indices, free).all():
        raise RuntimeError(f"strategy '{strategy}' broke its contract: not {budget} distinct unlabeled images")
