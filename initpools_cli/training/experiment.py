"""Data, settings and jobs of an active-learning experiment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from initpools_cli.core.config import SelectTable
from initpools_cli.core.plugins import Plugin
from initpools_cli.core.registry import Method
from initpools_cli.core.seeds import generator
from initpools_cli.strategies.balance import UNBALANCED, Balance
from initpools_cli.strategies.duplicates import RowFacts
from initpools_cli.strategies.plugin import strategy_of_plugin
from initpools_cli.strategies.registry import for_multilabel, strategies
from initpools_cli.strategies.traits import StrategyTraits
from initpools_cli.training.learners.registry import softmax
from initpools_cli.training.logistic import sigmoid

if TYPE_CHECKING:
    import torch

#: Seeds per job; they are solved together on one thread.
BLOCK = 10


@dataclass(frozen=True)
class MethodCall:
    """Strategy with its knobs and balance, as named in a sweep.

    Attributes
    ----------
    method : str
        The strategy.
    knobs : mapping
    balance : Balance
        How its picks are distributed over clusters.
    plugin : Plugin or None
        Its code, where a user brought it: another process loads it from here.
    multilabel : bool
        Whether it is called for several labels per image.
    """

    method: str
    knobs: Mapping[str, Any] = field(default_factory=dict)
    balance: Balance = UNBALANCED
    plugin: Plugin | None = None
    multilabel: bool = False

    def strategy(self) -> Method[StrategyTraits]:
        """Return the strategy, from this package or from the plug-in."""
        method = strategies.get(self.method) if self.plugin is None else strategy_of_plugin(self.plugin)
        return (for_multilabel(method) or method) if self.multilabel else method


@dataclass(frozen=True)
class ExperimentData:
    """Arrays and strategies of an active-learning experiment; sent to every worker process.

    Attributes
    ----------
    encoder : str
        Source of the embeddings, or "".
    inputs : mapping of str to mapping
        Inputs of learners, by parameter name and split: "embeddings", centered and scaled (n, d) float32, and "images",
        (n, h, w, c) uint8.
    arrays : mapping of str to mapping
        Inputs of each strategy that need no model, from `strategies.select.prepare`.
    calls : mapping of str to MethodCall
        How to call each strategy name.
    labels : mapping of str to ndarray
        (n,) int64, or with several labels per image (n, c) int8, by split.
    kept : ndarray
        (n,) bool, the train images in the data set (long tails leave some out).
    classes : int
    oracles : frozenset of str
        Strategy names that read the labels of all train images; every selection by one counts as leaks.
    pretrained : object or None
        Pretrained encoder for learners that start from one.
    row_facts : mapping of str to RowFacts
        Facts about the rows of the embeddings, for each strategy name that reads embeddings.
    scale : mapping of str to str
        Entries of a step's table about the scaling of embeddings; see `steps.embedding_scale`.
    groups : mapping of str to ndarray
        Group of each image, int64, by split; empty without groups.
    """

    encoder: str
    inputs: Mapping[str, Mapping[str, np.ndarray]]
    arrays: Mapping[str, Mapping[str, np.ndarray]]
    calls: Mapping[str, MethodCall]
    labels: Mapping[str, np.ndarray]
    kept: np.ndarray
    classes: int
    oracles: frozenset[str] = frozenset()
    pretrained: object = None
    row_facts: Mapping[str, RowFacts] = field(default_factory=dict)
    scale: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def multilabel(self) -> bool:
        """Whether images can have several labels."""
        return self.labels["train"].ndim == 2

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Compute probabilities: of classes, whose rows sum to 1, or of each label."""
        return sigmoid(logits) if self.multilabel else softmax(logits)


@dataclass(frozen=True)
class OutputCounts:
    """Numbers of model outputs per image, for queries that compare several.

    Attributes
    ----------
    views, passes, members : int
        Random views, dropout passes, ensemble members.
    """

    views: int = 10
    passes: int = 25
    members: int = 3


@dataclass(frozen=True)
class ExperimentSettings:
    """Settings of an active-learning experiment.

    Attributes
    ----------
    init_budget, budget, rounds : int
        Labels of the first pool, labels per query round, number of query rounds.
    candidates : float
        Share of train images drawn as the candidate set of each seed.
    validation : str
        "none", "from-budget" or "free-val".
    seed : int
        Root seed.
    space : str
        Space in which queries compute distances: "embeddings", or "learner" for its penultimate features.
    outputs : OutputCounts
    select : SelectTable
        Of which `strategies.select.common_settings` is used.
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
    outputs: OutputCounts = OutputCounts()
    select: SelectTable = field(default_factory=SelectTable)
    learners: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """Data of an active-learning experiment, its settings, and the device of its models."""

    data: ExperimentData
    settings: ExperimentSettings
    device: torch.device


@dataclass(frozen=True)
class FirstPoolJob:
    """Job that selects the first pools of one strategy at several seeds."""

    encoder: str
    init: str
    seeds: Sequence[int]


@dataclass(frozen=True)
class BlockJob:
    """Job that runs one (init, query, learner) at several seeds, and records round 0 if `with_first`."""

    encoder: str
    init: str
    query: str
    learner: str
    seeds: Sequence[int]
    with_first: bool


def first_pool_jobs(encoders: Sequence[str], inits: Sequence[str], seeds: int) -> Iterator[FirstPoolJob]:
    """Yield the first-pool jobs of a sweep, in a fixed order."""
    for encoder in encoders:
        for init in inits:
            for block in _seed_blocks(seeds):
                yield FirstPoolJob(encoder, init, block)


def block_jobs(
    encoders: Sequence[str], inits: Sequence[str], queries: Sequence[str], learners: Sequence[str], seeds: int
) -> Iterator[BlockJob]:
    """Yield the jobs of a sweep after its first pools, in a fixed order.

    Blocks of the first query also record round 0, which does not depend on the query.
    """
    for encoder in encoders:
        for learner in learners:
            for init in inits:
                for position, query in enumerate(queries):
                    for block in _seed_blocks(seeds):
                        yield BlockJob(encoder, init, query, learner, block, position == 0)


def candidate_count(experiment: ExperimentData, share: float, root: int) -> int:
    """Return the number of images that may be labeled at this seed."""
    if "train" in experiment.groups:
        return len(draw_candidates(experiment, share, root))
    return max(1, round(share * int(experiment.kept.sum())))


def candidate_set(experiment: ExperimentData, settings: ExperimentSettings, root: int) -> np.ndarray:
    """Draw the images that may be labeled at this seed, sorted; the same for every init and query."""
    return draw_candidates(experiment, settings.candidates, root)


def draw_candidates(experiment: ExperimentData, share: float, root: int) -> np.ndarray:
    """Draw a share of the images, (m,) int64, sorted.

    Whole groups are drawn in random order, each that brings the number of images nearer to the share.
    """
    images = np.flatnonzero(experiment.kept)
    count = max(1, round(share * len(images)))
    random = generator(root, "candidates")
    if "train" not in experiment.groups or count == len(images):
        return np.sort(random.choice(images, count, replace=False))  # a seeded draw, no secret  # nosec B311
    _, group, sizes = np.unique(experiment.groups["train"][images], return_inverse=True, return_counts=True)
    mask, total = np.zeros(len(sizes), dtype=bool), 0
    for each in random.permutation(len(sizes)).tolist():
        if abs(total + sizes[each] - count) < abs(total - count):
            mask[each], total = True, total + int(sizes[each])
    if not total:
        mask[int(sizes.argmin())] = True
    return images[mask[group]]


def _seed_blocks(seeds: int) -> Iterator[Sequence[int]]:
    for first in range(0, seeds, BLOCK):
        yield range(first, min(first + BLOCK, seeds))
