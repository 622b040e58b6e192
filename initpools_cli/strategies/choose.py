"""The one door to every strategy: checks once, keeps excluded images out, balances over clusters, checks the picks."""

from __future__ import annotations

import inspect
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
from initpools_cli.strategies.guards import refuse_constant
from initpools_cli.strategies.inputs import (
    INPUTS,
    Array,
    as_embeddings,
    image_axis,
    inputs_of,
    integers,
    refuse_missing,
    take,
)
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, take_turns

BALANCES = ("none", "kmeans", "clusters")


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
    knobs: Mapping[str, Any] | None = None,
    prepared: Mapping[str, Array] | None = None,
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
        Images already labelled; images not to be seen at all.
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
        Choose among so many of the unlabelled images, drawn at random, and see none but them and the labelled ones; 0
        means all.
    knobs : mapping, optional
        The strategy's own.
    prepared : mapping of str to array, optional
        Further inputs, from `prepare`: neither checked nor scaled again.

    Returns
    -------
    Selection
        Exactly `budget` distinct images, neither labelled nor excluded.

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
    if "embeddings" in arrays and "embeddings" not in ready:
        arrays["embeddings"] = as_embeddings(arrays["embeddings"], normalize)
    if "check" in method.traits:
        method.traits["check"](arrays, values)
    known = np.flatnonzero(np.isin(rows, bought))

    if balance == "none":
        selection = _run(method, arrays, len(rows), known, budget, generator(seed, method.name), values)
    else:
        clusters = arrays.get("clusters")
        if balance == "kmeans":
            k = min(n_clusters or DEFAULT_CLUSTERS, len(rows))
            clusters = kmeans(arrays["embeddings"], k, generator(seed, "balance", k)).labels
        assert clusters is not None
        selection = _balanced(method, arrays, clusters, known, budget, seed, values)
    chosen = replace(selection, indices=rows[selection.indices])
    _check_contract(method.name, chosen, free, budget)
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
    """Refuse to choose where every one of the images is labelled.

    Raises
    ------
    UserError
        None is available.
    """
    if not images:
        raise UserError("Every image is excluded: none is left.", "Exclude fewer.")
    if not available:
        raise UserError(f"All {images} images are labelled: none is left.", "Name fewer as labelled.")


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


def round_robin(available: NDArray[np.int64], budget: int) -> NDArray[np.int64]:
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


def _run(
    method: Method,
    arrays: Mapping[str, Array],
    n: int,
    labeled: NDArray[np.int64],
    budget: int,
    rng: np.random.Generator,
    knobs: Mapping[str, Any],
) -> Selection:
    services = {"n": n, "labeled": labeled, "budget": int(budget), "rng": rng}
    asked = inspect.signature(method.build).parameters
    own = [*method.inputs, *(name for name in method.optional if name in arrays)]
    given = {name: arrays[name] for name in own} | {k: v for k, v in services.items() if k in asked}
    selection: Selection = method.build(**given, **knobs)
    return selection


def _balanced(
    method: Method,
    arrays: Mapping[str, Array],
    clusters: NDArray[np.int64],
    labeled: NDArray[np.int64],
    budget: int,
    seed: int,
    knobs: Mapping[str, Any],
) -> Selection:
    n = len(clusters)
    ids, place = np.unique(clusters, return_inverse=True)
    is_labeled = np.zeros(n, bool)
    is_labeled[labeled] = True
    quotas = round_robin(np.bincount(place[~is_labeled], minlength=len(ids)), budget)
    indices, scores, owners, among = [], [], [], []
    for cluster in np.flatnonzero(quotas):
        rows = np.flatnonzero(place == cluster)
        inside = {name: take(name, array, rows) for name, array in arrays.items()}
        known = np.flatnonzero(is_labeled[rows])
        rng = generator(seed, method.name, "cluster", int(ids[cluster]))
        part = _run(method, inside, len(rows), known, int(quotas[cluster]), rng, knobs)
        indices.append(rows[part.indices])
        scores.append(part.scores)
        among.append(part.among)
        owners.append(np.full(quotas[cluster], ids[cluster]))
    order = take_turns(np.concatenate(owners))
    together, every = _joined(scores), _joined(among)
    owned = np.concatenate(owners)[order]
    return Selection(np.concatenate(indices)[order], None if together is None else together[order], owned, every)


def _joined(parts: list[NDArray[np.float64] | None]) -> NDArray[np.float64] | None:
    present = [part for part in parts if part is not None]
    return np.concatenate(present) if len(present) == len(parts) else None


def _check_contract(strategy: str, selection: Selection, free: NDArray[np.int64], budget: int) -> None:
    indices = selection.indices
    if len(indices) != budget or len(np.unique(indices)) != budget or not np.isin(indices, free).all():
        raise RuntimeError(f"strategy '{strategy}' broke its contract: not {budget} distinct unlabelled images")
