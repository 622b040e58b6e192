"""Select in two rounds: from random partitions of the images, then from all that these selected."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.registry import SAMPLE, Method
from initpools_cli.core.seeds import derive, generator
from initpools_cli.geometry.rows import map_jobs, on_executor
from initpools_cli.strategies.arrays import take
from initpools_cli.strategies.call import Indices, StrategyCall
from initpools_cli.strategies.embeddings import Array
from initpools_cli.strategies.objective_sample import ObjectiveSample
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection
from initpools_cli.strategies.traits import StrategyTraits


def select_in_rounds(
    call: StrategyCall, rows: Indices, labeled: Indices, budget: int, partitions: int, sample_size: int
) -> Selection:
    """Select `budget` images from each of several random partitions, and then `budget` from all of these.

    Labeled images are in every partition. The second round measures an objective that is a sum over all images on a
    uniform sample of them, with weights that make up for the sample's size; an objective of the picks alone needs no
    sample. This is GreeDi (Mirzasoleiman et al. 2013, NIPS) with random partitions
    (Barbosa et al. 2015, arXiv:1502.02606). Deviations: the result is that of the second round, even if the picks of
    one partition were better, so their guarantees, which are for monotone submodular objectives, do not hold; the
    objective of the second round is estimated.

    Parameters
    ----------
    call : StrategyCall
        Without clusters.
    rows, labeled : (m,), (l,) int64
        Ascending; `labeled` is a subset of `rows`.
    budget : int
    partitions : int
        ≥ 2; each has at least `budget` unlabeled images.
    sample_size : int
        Size of the sample, at most.

    Returns
    -------
    Selection
        Its scores are those of the second round.
    """
    parts = random_partitions(np.setdiff1d(rows, labeled, assume_unique=True), partitions, call.seed)
    union = np.sort(np.concatenate(map_jobs(_first_round, _jobs(call, parts, labeled, budget))))
    # The second round reads few rows, all at once.
    with on_executor(None):
        return _second_round(call, rows, labeled, budget, union, sample_size)


def _second_round(
    call: StrategyCall, rows: Indices, labeled: Indices, budget: int, union: Indices, sample_size: int
) -> Selection:
    """Select from the picks of the first round, `union`."""
    candidates = np.union1d(union, labeled)
    if SAMPLE not in inspect.signature(call.method.build).parameters:
        return call.on(candidates, labeled, budget)
    sample = rows
    if sample_size < len(rows):
        sample = generator(call.seed, "partitions", SAMPLE).choice(rows, sample_size, replace=False)
    visible = np.union1d(candidates, sample)
    weights = np.isin(visible, sample).astype(np.float64) * (len(rows) / len(sample))
    return call.on(visible, labeled, budget, sample=ObjectiveSample(weights, np.isin(visible, union)))


def random_partitions(rows: Indices, count: int, seed: int) -> list[Indices]:
    """Divide rows at random into `count` parts whose sizes differ by at most 1, each ascending."""
    order = generator(seed, "partitions", count).permutation(rows)
    return [np.sort(part) for part in np.array_split(order, count)]


def _jobs(call: StrategyCall, parts: list[Indices], labeled: Indices, budget: int) -> Iterator[tuple[Any, ...]]:
    """Yield the arguments of `_first_round`; arrays in memory are copied for one partition at a time."""
    for number, part in enumerate(parts):
        rows = np.union1d(part, labeled)
        arrays = {name: take(name, array, rows) for name, array in call.arrays.items()}
        seed = derive(call.seed, "partition", number)
        yield call.method.name, arrays, call.knobs, rows, labeled, budget, seed


def _first_round(
    strategy: str,
    arrays: Mapping[str, Array],
    knobs: Mapping[str, Any],
    rows: Indices,
    labeled: Indices,
    budget: int,
    seed: int,
) -> Indices:
    """Select from one partition, maybe in another process, where the strategy is found by its name."""
    call = StrategyCall(strategies.get(strategy), arrays, knobs, seed)
    return rows[call.on(np.arange(len(rows)), np.searchsorted(rows, labeled), budget).indices]


def check_partitions(
    method: Method[StrategyTraits], partitions: int, balance: str, min_distance: float, per_group: int
) -> None:
    """Refuse partitions for a strategy that has none, or with settings that select several times.

    Raises
    ------
    UserError
    """
    if partitions < 1:
        raise UserError(f"partitions={partitions} is less than 1.", "Use 1 for none, or a larger number.", partitions)
    if partitions == 1:
        return
    if not method.traits.partitions:
        able = ", ".join(each.name for each in strategies if each.traits.partitions)
        raise UserError(
            f"partitions={partitions} is not possible with '{method.name}', which does not compare all pairs of "
            "images.",
            f"Leave out --partitions, or use one of {able}.",
            method.name,
        )
    others = {"min_distance": min_distance, "per_group": per_group, "balance": balance if balance != "none" else 0}
    other = next((f"{name}={value}" for name, value in others.items() if value), None)
    if other is not None:
        raise UserError(
            f"partitions={partitions} cannot be combined with {other}.", "Leave out one of them.", partitions
        )


def check_partition_size(images: int, partitions: int, budget: int) -> None:
    """Refuse partitions of fewer images than the budget.

    Parameters
    ----------
    images : int
        Unlabeled images, without copies and zero rows.
    partitions, budget : int

    Raises
    ------
    UserError
        With the largest number of partitions.
    """
    if partitions > 1 and images // partitions < budget:
        most = images // budget
        raise UserError(
            f"partitions={partitions} leaves {images // partitions:,} of {images:,} images in a partition, fewer than "
            f"the budget of {budget:,}.",
            f"Use --partitions {most} or fewer." if most > 1 else "Leave out --partitions.",
            partitions,
        )
