"""What a comparison is fought on, by which rules, and in which jobs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from initpools_cli.core.seeds import generator
from initpools_cli.strategies.balance import UNBALANCED, Balance
from initpools_cli.strategies.duplicates import RowFacts

#: Seeds that are solved together, one block of them on one thread.
BLOCK = 10


@dataclass(frozen=True)
class MethodCall:
    """How to call what a sweep names.

    Attributes
    ----------
    method : str
        The registered strategy.
    knobs : mapping
    balance : Balance
        How its picks are spread over clusters.
    """

    method: str
    knobs: Mapping[str, Any] = field(default_factory=dict)
    balance: Balance = UNBALANCED


@dataclass(frozen=True)
class ExperimentData:
    """Everything a comparison is fought on; sent to every process that fights a part of it.

    Attributes
    ----------
    encoder : str
        Whose embeddings they are, or "".
    inputs : mapping of str to mapping
        What learners are trained on and measured on, by the names in their signatures and by split: "embeddings"
        centered and scaled (n, d) float32, "images" (n, h, w, c) uint8.
    given : mapping of str to mapping
        For each strategy name, the inputs that need no model, from `strategies.select.prepare`.
    strategy : mapping of str to Called
        How to call each strategy name.
    labels : mapping of str to ndarray
        int64, by split.
    kept : ndarray
        (n,) bool, the train images that exist (long tails leave some out).
    classes : int
    oracles : frozenset of str
        The strategy names that go by the labels of all train images: each time one chooses is a leak.
    pretrained : object or None
        What the learner `finetune` starts from.
    facts : mapping of str to Rows
        For each strategy name that is about embeddings, what is known of their rows.
    scale : mapping of str to str
        What a step's table says of the scaling of the embeddings; see `steps.scale`.
    """

    encoder: str
    inputs: Mapping[str, Mapping[str, np.ndarray]]
    given: Mapping[str, Mapping[str, np.ndarray]]
    strategy: Mapping[str, MethodCall]
    labels: Mapping[str, np.ndarray]
    kept: np.ndarray
    classes: int
    oracles: frozenset[str] = frozenset()
    pretrained: object = None
    facts: Mapping[str, RowFacts] = field(default_factory=dict)
    scale: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class OutputCounts:
    """In how many ways a model is asked about an image, for queries that compare the answers.

    Attributes
    ----------
    views, passes, members : int
        Random views, passes with dropout, members of an ensemble.
    """

    views: int = 10
    passes: int = 25
    members: int = 3


@dataclass(frozen=True)
class ExperimentSettings:
    """How the comparison is run.

    Attributes
    ----------
    init_budget, budget, rounds : int
        Labels of the first pool, labels bought in each query round, number of query rounds.
    candidates : float
        Share of train drawn as the candidate set of each seed.
    validation : str
        "none", "from-budget" or "free-val".
    space : str
        Where queries on distances measure: "embeddings", or "learner" for its penultimate features.
    ways : OutputCounts
    normalize, sample, copies, min_distance
        As in [select].
    learners : mapping of str to mapping
        The knobs of each learner.
    """

    init_budget: int
    budget: int
    rounds: int
    candidates: float = 0.9
    validation: str = "none"
    seed: int = 0
    space: str = "embeddings"
    ways: OutputCounts = OutputCounts()
    normalize: bool = True
    sample: int = 0
    copies: str = "last"
    min_distance: float = 0.0
    learners: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class FirstPoolJob:
    """A job: the first pools of one strategy at some seeds."""

    encoder: str
    init: str
    seeds: Sequence[int]


@dataclass(frozen=True)
class BlockJob:
    """A job: one (init, query, learner) at some seeds; with round 0 where it is the one that keeps it."""

    encoder: str
    init: str
    query: str
    learner: str
    seeds: Sequence[int]
    with_first: bool


def draws_of(encoders: Sequence[str], inits: Sequence[str], seeds: int) -> Iterator[FirstPoolJob]:
    """The first pools of a sweep, in a fixed order."""
    for encoder in encoders:
        for init in inits:
            for block in _tens(seeds):
                yield FirstPoolJob(encoder, init, block)


def blocks_of(
    encoders: Sequence[str], inits: Sequence[str], queries: Sequence[str], learners: Sequence[str], seeds: int
) -> Iterator[BlockJob]:
    """The jobs of a sweep after its first pools, in a fixed order.

    The first query's blocks also hold round 0, which does not depend on the query.
    """
    for encoder in encoders:
        for learner in learners:
            for init in inits:
                for position, query in enumerate(queries):
                    for block in _tens(seeds):
                        yield BlockJob(encoder, init, query, learner, block, position == 0)


def candidate_set(arena: ExperimentData, protocol: ExperimentSettings, root: int) -> np.ndarray:
    """The images that may be labeled at this seed, sorted: the same for every init and query."""
    there = np.flatnonzero(arena.kept)
    count = max(1, round(protocol.candidates * len(there)))
    return np.sort(generator(root, "candidates").choice(there, count, replace=False))


def _tens(seeds: int) -> Iterator[Sequence[int]]:
    for first in range(0, seeds, BLOCK):
        yield range(first, min(first + BLOCK, seeds))
