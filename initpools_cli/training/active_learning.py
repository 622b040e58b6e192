"""The active-learning loop: buy a first pool, train, measure, query, buy; many seeds in step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from initpools_cli.core.errors import UserError
from initpools_cli.core.registry import Method
from initpools_cli.core.seeds import derive, generator
from initpools_cli.strategies.arrays import take
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.select import choose
from initpools_cli.strategies.selection import Selection
from initpools_cli.training.experiment import BlockJob, ExperimentData, ExperimentSettings, candidate_set
from initpools_cli.training.label_access import LabelAccess
from initpools_cli.training.learners.registry import Classifier, Validation, learners, softmax
from initpools_cli.training.model_outputs import answers, asks_model
from initpools_cli.training.vaal import vaal_scores

#: Columns of rounds.csv, in order.
COLUMNS = (
    "init", "query", "learner", "encoder", "seed", "round", "labeled", "validation", "accuracy", "balanced_accuracy",
    "auc", "nll", "ece", "absent_classes", "leaks", "status", "error",
)  # fmt: skip

#: Share of the bought labels held out under the policy "from-budget".
HELD_OUT = 0.2


@dataclass
class Cell:
    """One seed of a block on its way.

    Attributes
    ----------
    index, root : int
        The number of the seed, and the root seed that it stands for.
    candidates : (m,) int64
    labeled : ndarray
        What has been bought, int64, in order of purchase.
    door : LabelAccess
    """

    index: int
    root: int
    candidates: np.ndarray
    labeled: np.ndarray
    door: LabelAccess


@dataclass(frozen=True)
class RoundMetrics:
    """A row of rounds.csv, and the recall (c,) of each class, NaN for one without test images."""

    row: dict[str, Any]
    recalls: np.ndarray


def first_pool(init: str, index: int, arena: ExperimentData, protocol: ExperimentSettings) -> np.ndarray:
    """The first pool of a strategy at seed number `index`: (init_budget,) int64, in order of choice."""
    root = protocol.seed + index
    candidates = candidate_set(arena, protocol, root)
    nothing = np.empty(0, dtype=np.int64)
    chosen = _choose(init, protocol.init_budget, nothing, candidates, {}, root, arena, protocol).indices
    return _all_of(protocol.init_budget, chosen, protocol)


def start(pools: Mapping[int, np.ndarray], arena: ExperimentData, protocol: ExperimentSettings) -> list[Cell]:
    """Cells with their first pools, by number of the seed, not yet paid for."""
    cells = []
    for index, pool in pools.items():
        root = protocol.seed + index
        cells.append(Cell(index, root, candidate_set(arena, protocol, root), pool, LabelAccess(arena.labels)))
    return cells


def run_block(
    block: BlockJob, cells: Sequence[Cell], arena: ExperimentData, protocol: ExperimentSettings, device: torch.device
) -> Iterator[list[RoundMetrics]]:
    """Run a block round by round; the cells are moved on in place.

    Parameters
    ----------
    cells : sequence of Cell
        From `start`.

    Yields
    ------
    list of RoundMetrics
        One for each cell; none of round 0 where the block does not keep it.
    """
    if block.init in arena.oracles:
        for cell in cells:
            cell.door.read(np.flatnonzero(arena.kept))
    for round_ in range(protocol.rounds + 1):
        for cell in cells:
            cell.door.buy(cell.labeled)
        measured = []
        for cell, model in zip(cells, _models(block.learner, cells, round_, arena, protocol, device), strict=True):
            if round_ or block.with_first:
                measured.append(_measure(block, cell, model, round_, arena, protocol))
            if round_ < protocol.rounds:
                fresh = ask_query(block.query, block.learner, cell, model, round_, arena, protocol, device)
                cell.labeled = np.concatenate([cell.labeled, _all_of(protocol.budget, fresh.indices, protocol)])
        yield measured


def _all_of(budget: int, picks: np.ndarray, protocol: ExperimentSettings) -> np.ndarray:
    """The picks, if there are as many as asked for: a sweep compares at equal numbers of labels."""
    if len(picks) < budget:
        raise UserError(
            f"min_distance = {protocol.min_distance:g} leaves {len(picks)} of the {budget} images to buy.",
            "Lower select.min_distance, or buy fewer.",
        )
    return picks


def _choose(
    name: str,
    budget: int,
    labeled: np.ndarray,
    candidates: np.ndarray,
    seen: Mapping[str, np.ndarray],
    seed: int,
    arena: ExperimentData,
    protocol: ExperimentSettings,
) -> Selection:
    """Let a strategy choose among the candidates, which are all that it sees; `seen` is of them alone."""
    called = arena.strategy[name]
    given = {key: take(key, array, candidates) for key, array in arena.given[name].items() if key not in seen}
    facts = arena.facts.get(name)
    if facts is not None:
        points = None if facts.array is None else take("embeddings", facts.array, candidates)
        facts = replace(facts.take(candidates), array=points)
    chosen = choose(
        called.method,
        seen,
        budget,
        labeled=np.searchsorted(candidates, labeled),
        n=len(candidates),
        seed=seed,
        normalize=protocol.normalize,
        balance=called.balance.kind,
        n_clusters=called.balance.n_clusters,
        sample=protocol.sample,
        copies=protocol.copies,
        # What is about no embeddings is a baseline or a given order.
        min_distance=protocol.min_distance if facts is not None else 0.0,
        knobs=called.knobs,
        prepared=given,
        facts=facts,
    )
    return replace(chosen, indices=candidates[chosen.indices])


def ask_query(
    name: str,
    learner_name: str,
    cell: Cell,
    model: Classifier,
    round_: int,
    arena: ExperimentData,
    protocol: ExperimentSettings,
    device: torch.device,
) -> Selection:
    """What the query buys next, of the candidates that are not labeled.

    Parameters
    ----------
    name, learner_name : str
        The query, as the arena calls it, and the learner.
    model : Classifier
        Fitted on what the cell has labeled.
    round_ : int
        The round that has just been measured.
    """
    query, learner = strategies.get(arena.strategy[name].method), learners.get(learner_name)
    seed = derive(cell.root, "ask", round_)

    def members(count: int) -> Iterator[Classifier]:
        for number in range(count):
            yield fit(learner, cell, derive(cell.root, "member", round_, number), arena, protocol, device)

    seen = {}
    if asks_model(query, protocol.space):
        shown = inputs_of(learner, arena)["train"][cell.candidates]
        seen = answers(query, learner, model, shown, protocol, seed, members)
        for answer, array in seen.items():
            require_finite(answer, array)
    if "vaal_scores" in query.inputs:
        images = arena.inputs["images"]["train"][cell.candidates]
        seen["vaal_scores"] = vaal_scores(images, np.searchsorted(cell.candidates, cell.labeled), seed, device)
    if name in arena.oracles:
        cell.door.read(np.flatnonzero(arena.kept))
    elif "labels" in query.optional:
        seen["labels"] = cell.door.known()[cell.candidates]
    root = derive(cell.root, "round", round_ + 1)
    return _choose(name, protocol.budget, cell.labeled, cell.candidates, seen, root, arena, protocol)


def _models(
    name: str,
    cells: Sequence[Cell],
    round_: int,
    arena: ExperimentData,
    protocol: ExperimentSettings,
    device: torch.device,
) -> Iterable[Classifier]:
    """A fresh model for each cell: at once where the learner can, else one after the other."""
    learner = learners.get(name)
    seeds = [derive(cell.root, "learner", round_) for cell in cells]
    if learner.traits.together is None:
        return (fit(learner, cell, seed, arena, protocol, device) for cell, seed in zip(cells, seeds, strict=True))
    shown = [_shown(learner, cell, seed, arena, protocol) for cell, seed in zip(cells, seeds, strict=True)]
    return learner.traits.together(
        np.stack([inputs for inputs, _, _ in shown]),
        np.stack([labels for _, labels, _ in shown]),
        arena.classes,
        seeds,
        device,
        None if protocol.validation == "none" else [validation for _, _, validation in shown],
        **protocol.learners[name],
    )


def fit(
    learner: Method, cell: Cell, seed: int, arena: ExperimentData, protocol: ExperimentSettings, device: torch.device
) -> Classifier:
    """The learner fitted on what a cell has labeled."""
    inputs, labels, validation = _shown(learner, cell, seed, arena, protocol)
    begun = {"encoder": arena.pretrained} if "encoder" in learner.inputs else {}
    model: Classifier = learner.build(
        inputs, labels, arena.classes, seed, device, validation=validation, **begun, **protocol.learners[learner.name]
    )
    return model


def _shown(
    learner: Method, cell: Cell, seed: int, arena: ExperimentData, protocol: ExperimentSettings
) -> tuple[np.ndarray, np.ndarray, Validation | None]:
    """What the learner is trained on, and what it is validated on, by the policy."""
    inputs, chosen, validation = inputs_of(learner, arena), cell.labeled, None
    if protocol.validation == "from-budget":
        chosen, held_out = _split_budget(cell.labeled, seed)
        validation = (inputs["train"][held_out], cell.door.read(held_out))
    elif protocol.validation == "free-val":
        validation = (inputs["val"], cell.door.leak("val"))
    return inputs["train"][chosen], cell.door.read(chosen), validation


def _split_budget(labeled: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A random fifth of what was bought, at least one image, for validation."""
    order = generator(seed, "validation").permutation(labeled)
    held_out = max(1, round(HELD_OUT * len(labeled)))
    if held_out == len(labeled):
        raise UserError(
            f"validation = from-budget leaves nothing to train on with {len(labeled)} label.",
            "Buy at least 2 labels, or use --set al.validation=none.",
        )
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def _measure(
    block: BlockJob, cell: Cell, model: Classifier, round_: int, arena: ExperimentData, protocol: ExperimentSettings
) -> RoundMetrics:
    learner = learners.get(block.learner)
    logits = model.logits(inputs_of(learner, arena)["test"])
    require_finite("logits", logits)
    metrics, recalls = cell.door.measure(softmax(logits))
    row = {
        "init": block.init,
        "query": block.query if round_ else "",
        "learner": block.learner,
        "encoder": block.encoder,
        "seed": cell.index,
        "round": round_,
        "labeled": len(cell.labeled),
        "validation": protocol.validation,
        **metrics,
        "leaks": cell.door.leaks,
        "status": "ok",
        "error": "",
    }
    return RoundMetrics(row, recalls)


def require_finite(name: str, answers: np.ndarray) -> None:
    """Fail a model that has diverged: a strategy would blame its input, and end the sweep."""
    if not np.isfinite(answers).all():
        raise FloatingPointError(f"the learner's {name} are not finite: its training has diverged")


def inputs_of(learner: Method, arena: ExperimentData) -> Mapping[str, np.ndarray]:
    """What the learner reads of the images of each split."""
    return arena.inputs[learner.inputs[0]]
