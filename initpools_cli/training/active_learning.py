"""Active-learning rounds: buy labels, train, evaluate and query, for several seeds at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.registry import Method
from initpools_cli.core.seeds import derive, generator
from initpools_cli.datasets.splits import class_counts, held_out_groups
from initpools_cli.strategies.arrays import take
from initpools_cli.strategies.select import choose, common_settings
from initpools_cli.strategies.selection import Selection
from initpools_cli.training.calibration import calibration_of
from initpools_cli.training.experiment import BlockJob, Experiment, ExperimentData, ExperimentSettings, candidate_set
from initpools_cli.training.label_access import LabelAccess
from initpools_cli.training.learners.registry import Classifier, Validation, learners
from initpools_cli.training.model_outputs import query_outputs, reads_model
from initpools_cli.training.vaal import vaal_scores

#: Columns of rounds.csv, in order.
COLUMNS = (
    "init", "query", "learner", "encoder", "seed", "round", "labeled", "validation", "accuracy", "balanced_accuracy",
    "auc", "nll", "ece", "absent_classes", "leaks", "status", "error",
)  # fmt: skip

#: The same with several labels per image.
MULTILABEL_COLUMNS = (
    "init", "query", "learner", "encoder", "seed", "round", "labeled", "validation", "auc", "mean_average_precision",
    "micro_f1", "macro_f1", "nll", "absent_classes", "leaks", "status", "error",
)  # fmt: skip

#: Share of the labels held out by the validation policy "from-budget".
HELD_OUT = 0.2
#: Settings of [select] that leave out images by their embeddings.
APART = ("min_distance", "semdedup")


@dataclass
class Cell:
    """State of one seed of a block.

    Attributes
    ----------
    index, root : int
        The number of the seed, and its root seed.
    candidates : (m,) int64
        Images that may be labeled.
    labeled : (l,) int64
        Labeled images, in order of purchase.
    access : LabelAccess
    """

    index: int
    root: int
    candidates: np.ndarray
    labeled: np.ndarray
    access: LabelAccess


@dataclass(frozen=True)
class RoundMetrics:
    """Row of rounds.csv, and the metrics it is made from.

    Attributes
    ----------
    row : dict
    recalls : (c,) float64, or (3, c)
        Of each class; NaN for classes without test images. With several labels per image, three numbers of each class;
        see `LabelAccess.measure`.
    right : (k,) int32
        Correct predictions of each group and class of test images, see `label_access.group_columns`; k is 0 without
        groups and with several labels per image.
    correct : (b,) uint8
        Whether each prediction of the test images is right, see `LabelAccess.correct`; b is 0 with several labels per
        image.
    """

    row: dict[str, Any]
    recalls: np.ndarray
    right: np.ndarray
    correct: np.ndarray


def first_pool(init: str, index: int, experiment: Experiment) -> np.ndarray:
    """Select the first pool of a strategy at seed number `index`: (init_budget,) int64, in order of choice."""
    settings = experiment.settings
    root = settings.seed + index
    candidates = candidate_set(experiment.data, settings, root)
    nothing = np.empty(0, dtype=np.int64)
    picks = _choose(init, settings.init_budget, nothing, candidates, {}, root, experiment).indices
    return _all_of(settings.init_budget, picks, settings)


def start_cells(pools: Mapping[int, np.ndarray], experiment: Experiment) -> list[Cell]:
    """Make cells with their first pools, by number of the seed; no labels are bought yet."""
    data, settings = experiment.data, experiment.settings
    cells = []
    for index, pool in pools.items():
        root = settings.seed + index
        cells.append(Cell(index, root, candidate_set(data, settings, root), pool, LabelAccess(data.labels)))
    return cells


def run_block(block: BlockJob, cells: Sequence[Cell], experiment: Experiment) -> Iterator[list[RoundMetrics]]:
    """Run a block round by round, changing its cells in place.

    Parameters
    ----------
    block : BlockJob
    cells : sequence of Cell
        From `start_cells`.
    experiment : Experiment

    Yields
    ------
    list of RoundMetrics
        One per cell; empty in round 0 unless the block records it.
    """
    data, settings = experiment.data, experiment.settings
    if block.init in data.oracles:
        for cell in cells:
            cell.access.read(np.flatnonzero(data.kept))
    for round_ in range(settings.rounds + 1):
        for cell in cells:
            cell.access.buy(cell.labeled)
        metrics = []
        for cell, model in zip(cells, _models(block.learner, cells, round_, experiment), strict=True):
            if round_ or block.with_first:
                metrics.append(_evaluate(block, cell, model, round_, experiment))
            if round_ < settings.rounds:
                selection = run_query(block.query, block.learner, cell, model, round_, experiment)
                cell.labeled = np.concatenate([cell.labeled, _all_of(settings.budget, selection.indices, settings)])
        yield metrics


def _all_of(budget: int, picks: np.ndarray, settings: ExperimentSettings) -> np.ndarray:
    """Return the picks, or refuse too few: a sweep compares at equal numbers of labels."""
    if len(picks) < budget:
        limits = {name: getattr(settings.select, name) for name in APART}
        name, value = next((name, value) for name, value in limits.items() if value)
        raise UserError(
            f"{name} = {value:g} leaves {len(picks)} images, fewer than the budget of {budget}.",
            f"Use a smaller --set select.{name}, or a smaller budget.",
            f"{value:g}",
        )
    return picks


def _choose(
    name: str,
    budget: int,
    labeled: np.ndarray,
    candidates: np.ndarray,
    outputs: Mapping[str, np.ndarray],
    seed: int,
    experiment: Experiment,
) -> Selection:
    """Run a strategy on the candidates alone; `outputs` are the model outputs for them."""
    data = experiment.data
    call = data.calls[name]
    arrays = {key: take(key, array, candidates) for key, array in data.arrays[name].items() if key not in outputs}
    facts = data.row_facts.get(name)
    if facts is not None:
        points = None if facts.array is None else take("embeddings", facts.array, candidates)
        facts = replace(facts.take(candidates), array=points)
    selection = choose(
        call.strategy(),
        outputs,
        budget,
        labeled=np.searchsorted(candidates, labeled),
        n=len(candidates),
        seed=seed,
        balance=call.balance.kind,
        n_clusters=call.balance.n_clusters,
        knobs=call.knobs,
        prepared=arrays,
        facts=facts,
        # Strategies without embeddings are baselines or a fixed order.
        **(common_settings(experiment.settings.select) | (dict.fromkeys(APART, 0.0) if facts is None else {})),
    )
    return replace(selection, indices=candidates[selection.indices])


def run_query(
    name: str, learner_name: str, cell: Cell, model: Classifier, round_: int, experiment: Experiment
) -> Selection:
    """Select the images to label next among the unlabeled candidates.

    Parameters
    ----------
    name, learner_name : str
        The query, by its name in the experiment, and the learner.
    cell : Cell
    model : Classifier
        Fitted on the labeled images of the cell.
    round_ : int
        The round that was just evaluated.
    """
    data, settings = experiment.data, experiment.settings
    query, learner = data.calls[name].strategy(), learners.get(learner_name)
    seed = derive(cell.root, "ask", round_)

    def members(count: int) -> Iterator[Classifier]:
        for number in range(count):
            yield fit(learner, cell, derive(cell.root, "member", round_, number), experiment)

    outputs = {}
    if reads_model(query, settings.space):
        inputs = inputs_of(learner, data)["train"][cell.candidates]
        outputs = query_outputs(query, learner, model, inputs, settings, seed, members)
        for output, array in outputs.items():
            require_finite(output, array)
    if "probs" in outputs and query.traits.reads("calibration", data.calls[name].knobs):
        groups = data.groups.get("train")
        outputs["calibration"] = calibration_of(
            lambda rows, part: fit(learner, replace(cell, labeled=rows), part, experiment),
            inputs_of(learner, data)["train"][cell.labeled],
            cell.labeled,
            cell.access.read(cell.labeled),
            np.arange(len(cell.labeled)) if groups is None else groups[cell.labeled],
            data.classes,
            derive(cell.root, "calibration", round_),
        )
    if "vaal_scores" in query.inputs:
        images = data.inputs["images"]["train"][cell.candidates]
        labeled = np.searchsorted(cell.candidates, cell.labeled)
        outputs["vaal_scores"] = vaal_scores(images, labeled, seed, experiment.device)
    if name in data.oracles:
        cell.access.read(np.flatnonzero(data.kept))
    elif "labels" in query.optional:
        outputs["labels"] = cell.access.known()[cell.candidates]
    root = derive(cell.root, "round", round_ + 1)
    return _choose(name, settings.budget, cell.labeled, cell.candidates, outputs, root, experiment)


def _models(name: str, cells: Sequence[Cell], round_: int, experiment: Experiment) -> Iterable[Classifier]:
    """Fit a model for each cell, all at once if the learner supports it, else one after the other."""
    learner, settings = learners.get(name), experiment.settings
    seeds = [derive(cell.root, "learner", round_) for cell in cells]
    if learner.traits.together is None:
        return (fit(learner, cell, seed, experiment) for cell, seed in zip(cells, seeds, strict=True))
    sets = [_training_set(learner, cell, seed, experiment) for cell, seed in zip(cells, seeds, strict=True)]
    models: dict[int, Classifier] = {}
    # Held-out groups differ in size.
    for size in dict.fromkeys(len(labels) for _, labels, _ in sets):
        same = [number for number, (_, labels, _) in enumerate(sets) if len(labels) == size]
        group_models = learner.traits.together(
            np.stack([sets[number][0] for number in same]),
            np.stack([sets[number][1] for number in same]),
            experiment.data.classes,
            [seeds[number] for number in same],
            experiment.device,
            None if settings.validation == "none" else [sets[number][2] for number in same],
            **settings.learners[name],
        )
        models |= dict(zip(same, group_models, strict=True))
    return [models[number] for number in range(len(sets))]


def fit(learner: Method, cell: Cell, seed: int, experiment: Experiment) -> Classifier:
    """Fit the learner on the labeled images of a cell."""
    inputs, labels, validation = _training_set(learner, cell, seed, experiment)
    encoder = {"encoder": experiment.data.pretrained} if "encoder" in learner.inputs else {}
    model: Classifier = learner.build(
        inputs,
        labels,
        experiment.data.classes,
        seed,
        experiment.device,
        validation=validation,
        **encoder,
        **experiment.settings.learners[learner.name],
    )
    return model


def _training_set(
    learner: Method, cell: Cell, seed: int, experiment: Experiment
) -> tuple[np.ndarray, np.ndarray, Validation | None]:
    """Return training inputs, labels and, by the validation policy, the validation set.

    A learner with the trait `unlabeled` gets all candidates, sorted, with -1 in place of labels that are not for
    training. Test images are never among them.
    """
    inputs, train_rows, validation = inputs_of(learner, experiment.data), cell.labeled, None
    if experiment.settings.validation == "from-budget":
        train_rows, held_out = _split_budget(cell, seed, experiment.data.groups.get("train"))
        validation = (inputs["train"][held_out], cell.access.read(held_out))
    elif experiment.settings.validation == "free-val":
        validation = (inputs["val"], cell.access.leak("val"))
    labels = cell.access.read(train_rows)
    if learner.traits.unlabeled:
        rows = np.union1d(cell.candidates, train_rows)
        train_labels = np.full((len(rows), *labels.shape[1:]), -1, labels.dtype)
        train_labels[np.searchsorted(rows, train_rows)] = labels
        return inputs["train"][rows], train_labels, validation
    return inputs["train"][train_rows], labels, validation


def _split_budget(cell: Cell, seed: int, groups: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Split the labeled images into a training set and a validation set of a fifth, at least one image or group.

    Images are drawn at random; groups as a whole, stratified by class.
    """
    labeled = cell.labeled
    if groups is not None:
        _, group = np.unique(groups[labeled], return_inverse=True)
        is_held_out = held_out_groups(
            class_counts(cell.access.read(labeled), group), HELD_OUT, seed, label="validation"
        )
        if not is_held_out.any():
            # Some class has only one group, which can be in one of the two sets only.
            alone = generator(seed, "validation").permutation(int(group.max()) + 1)
            is_held_out[alone[: max(1, round(HELD_OUT * len(alone)))]] = len(alone) > 1
        if not is_held_out.any():
            raise UserError(
                f"validation = from-budget needs labels of at least 2 groups, but all {len(labeled)} are of one.",
                "Use a larger budget, or --set al.validation=none.",
                len(labeled),
            )
        return np.sort(labeled[~is_held_out[group]]), np.sort(labeled[is_held_out[group]])
    order = generator(seed, "validation").permutation(labeled)
    held_out = max(1, round(HELD_OUT * len(labeled)))
    if held_out == len(labeled):
        raise UserError(
            f"validation = from-budget needs at least 2 labels, got {len(labeled)}.",
            "Use a larger budget, or --set al.validation=none.",
            len(labeled),
        )
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def _evaluate(block: BlockJob, cell: Cell, model: Classifier, round_: int, experiment: Experiment) -> RoundMetrics:
    """Evaluate a model on the test split and build its row of rounds.csv."""
    data = experiment.data
    logits = model.logits(inputs_of(learners.get(block.learner), data)["test"])
    require_finite("logits", logits)
    metrics, recalls = cell.access.measure(data.probabilities(logits))
    row = {
        "init": block.init,
        "query": block.query if round_ else "",
        "learner": block.learner,
        "encoder": block.encoder,
        "seed": cell.index,
        "round": round_,
        "labeled": len(cell.labeled),
        "validation": experiment.settings.validation,
        **metrics,
        "leaks": cell.access.leaks,
        "status": "ok",
        "error": "",
    }
    if recalls.ndim > 1:
        # With several labels per image a prediction is not right or wrong.
        return RoundMetrics(row, recalls, np.empty(0, np.int32), np.empty(0, np.uint8))
    groups = data.groups.get("test")
    right = np.empty(0, np.int32) if groups is None else cell.access.right_by(logits, groups)
    return RoundMetrics(row, recalls, right, cell.access.correct(logits))


def require_finite(name: str, outputs: np.ndarray) -> None:
    """Raise FloatingPointError if a model diverged; a strategy would report its input as invalid and end the sweep."""
    if not np.isfinite(outputs).all():
        raise FloatingPointError(f"the learner's {name} are not finite: its training has diverged")


def inputs_of(learner: Method, data: ExperimentData) -> Mapping[str, np.ndarray]:
    """Return the inputs of the learner, embeddings or images, by split."""
    return data.inputs[learner.inputs[0]]
