"""Data and settings of an experiment: the arrays of its strategies and the inputs of its learners."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from initpools_cli.core.config import SelectTable
from initpools_cli.core.errors import UserError
from initpools_cli.core.plugins import plugin_of
from initpools_cli.core.registry import Method, revisions_of
from initpools_cli.core.rundir import FinishedStep
from initpools_cli.steps.context import Context
from initpools_cli.steps.embed import matrix, newest
from initpools_cli.steps.embedding_scale import learner_scaling, refuse_without_embeddings
from initpools_cli.steps.encoder import pretrain_of
from initpools_cli.steps.find_scores import can_score
from initpools_cli.steps.pretrained import pretrained_encoder
from initpools_cli.steps.rows import identity, tell
from initpools_cli.steps.run_provider import RunProvider
from initpools_cli.steps.strategy_name import StrategySpec
from initpools_cli.strategies.arrays import MODEL_OUTPUTS
from initpools_cli.strategies.duplicates import RowFacts
from initpools_cli.sweeps.spec import ExperimentSpec, knob_tables

if TYPE_CHECKING:
    from initpools_cli.datasets.spec import Dataset
    from initpools_cli.training.experiment import ExperimentData, ExperimentSettings, MethodCall


def identity_of(
    spec: ExperimentSpec, strategies: Iterable[StrategySpec], experiment: ExperimentData, select: SelectTable
) -> dict[str, Any]:
    """Return the knobs and revisions of learners and strategies that identify a sweep or a round.

    Returns
    -------
    dict
        ``params``: the knobs by the name of the learner or strategy; ``revisions`` of methods that have one; and counts
        of zero rows and copies above 0.
    """
    from initpools_cli.training.learners.registry import learners

    methods: list[tuple[Method, Mapping[str, Any]]] = [
        (learners.get(name), knobs) for name, knobs in spec.learners.items()
    ]
    params = {method.name: method.identity(knobs) for method, knobs in methods}
    for each in strategies:
        knobs = dict(experiment.calls[each.name].knobs)
        methods.append((each.method, knobs))
        if each.scoring is not None:
            methods.append((each.scoring, each.score_knobs(spec.knobs_of(each))))
        if knobs:
            params[each.name] = each.method.identity(knobs)
    marks: dict[str, int] = {}
    for each in strategies:
        marks |= identity(experiment.row_facts.get(each.name), experiment.kept, None, select)
    return {"params": params, **revisions_of(*methods), **marks}


def build_experiment(
    provider: RunProvider, spec: ExperimentSpec, labels: Mapping[str, np.ndarray], classes: int, mask: np.ndarray
) -> tuple[ExperimentData, dict[str, str]]:
    """Data of the experiment on one encoder, and the checksums of the files that it reads.

    Parameters
    ----------
    provider : RunProvider
        Its source is the encoder of the embeddings; "" for the default of ``--from``.
    labels : mapping of str to (n,) int64 or (n, c) int8
        By split.
    classes : int
    mask : (n train,) bool
        The candidates, with those of ``--exclude``.

    Raises
    ------
    UserError
        `source` has no effect, or an input that al-run cannot provide.
    """
    from initpools_cli.training.experiment import ExperimentData
    from initpools_cli.training.learners.registry import learners

    context, source = provider.context, provider.source
    data = context.data
    input_names = set().union(*(learners.get(name).inputs for name in spec.learners))
    _require_images(context, spec)
    if "embeddings" not in input_names:
        refuse_without_embeddings(context, spec.learners)
    embed_step = _find_embeddings(context, spec, input_names, source)
    mask = mask & provider.image_mask
    arrays = StrategyArrays(provider, np.flatnonzero(mask))
    for each in spec.strategies:
        about = embed_step.name if embed_step is not None and _is_about(context, each, embed_step) else ""
        arrays.add(each, spec.knobs_of(each), about)
    reads = arrays.reads
    inputs: dict[str, Mapping[str, np.ndarray]] = {}
    scale: dict[str, str] = {}
    if embed_step is not None and "embeddings" in input_names:
        apply, scale = learner_scaling(context, embed_step, provider.image_mask)
        inputs["embeddings"] = {
            name: apply(_labeled_only(data, name, matrix(embed_step, name))) for name in data.splits
        }
        reads |= embed_step.checksums(*(f"{split}.npy" for split in data.splits))
    if "images" in input_names or any("vaal_scores" in each.method.inputs for each in spec.queries):
        inputs["images"] = {name: _labeled_only(data, name, split.images) for name, split in data.splits.items()}
    weights, encoder = None, "" if embed_step is None else embed_step.name
    if "encoder" in input_names:
        learner = next(name for name in spec.learners if "encoder" in learners.get(name).inputs)
        pretrain_step = _find_pretrain(context, embed_step, source, learner)
        encoder = encoder or pretrain_step.name
        weights, checksums = pretrained_encoder(context, pretrain_step)
        reads |= checksums
    groups = {
        name: _labeled_only(data, name, codes) for name in data.splits if (codes := data.groups_of(name)) is not None
    }
    experiment = ExperimentData(
        encoder=encoder,
        inputs=inputs,
        arrays=arrays.by_strategy,
        calls=arrays.calls,
        labels=labels,
        kept=mask,
        classes=classes,
        oracles=frozenset(each.name for each in spec.strategies if each.oracle),
        pretrained=weights,
        row_facts=arrays.facts,
        scale=scale,
        groups=groups,
    )
    return experiment, reads


def _require_images(context: Context, spec: ExperimentSpec) -> None:
    """Refuse learners and queries that read images, in a data set without images."""
    from initpools_cli.training.learners.registry import learners

    for name in spec.learners:
        if {"images", "encoder"} & {*learners.get(name).inputs}:
            context.require_images(f"The learner '{name}'")
    for each in spec.queries:
        if "vaal_scores" in each.method.inputs:
            context.require_images(f"The query '{each.name}'")


class StrategyArrays:
    """The arrays and calls of the strategies of an experiment; strategies that read the same array share it.

    Attributes
    ----------
    by_strategy : dict of str to dict
        The checked arrays of each strategy, embeddings scaled.
    calls : dict of str to MethodCall
    facts : dict of str to RowFacts
        Of the embeddings that each strategy reads.
    reads : dict of str to str
        SHA-256 by path.
    """

    def __init__(self, provider: RunProvider, images: np.ndarray) -> None:
        self.provider, self.images = provider, images
        self.by_strategy: dict[str, dict[str, np.ndarray]] = {}
        self.calls: dict[str, MethodCall] = {}
        self.facts: dict[str, RowFacts] = {}
        self.reads: dict[str, str] = {}
        # The array is stored with the result, so that no other array gets its id.
        self._cache: dict[tuple[str, int], tuple[np.ndarray, np.ndarray]] = {}

    def add(self, strategy: StrategySpec, knobs: dict[str, Any], source: str) -> None:
        """Resolve the inputs of a strategy.

        Parameters
        ----------
        knobs : dict
            The knobs that the user set for it.
        source : str
            The step of its inputs; "" for the default of ``--from``.
        """
        from initpools_cli.training.experiment import MethodCall

        select, name = self.provider.settings.select, strategy.name
        inputs = self.provider.with_source(source).resolve(
            strategy,
            knobs,
            *knob_tables(name, strategy.base),
            order=select.order if "order" in strategy.method.knobs else "highest",
            with_model=True,
        )
        self.reads |= inputs.reads
        missing = sorted(strategy.inputs - MODEL_OUTPUTS - inputs.arrays.keys())
        if missing:
            raise UserError(
                f"'{name}' needs {missing[0]}, which al-run cannot provide.",
                "Use another strategy for --init and --query: `initpools list strategies`.",
                name,
            )
        self.by_strategy[name] = {key: self._prepare(key, array) for key, array in inputs.arrays.items()}
        self.calls[name] = MethodCall(
            strategy.method.name,
            dict(inputs.knobs),
            strategy.balance,
            plugin_of(strategy.method),
            self.provider.multilabel,
        )
        subject, facts = inputs.subject, inputs.facts
        if subject is None or facts is None:
            return
        tell(self.provider.report, facts, self.images, None, select.copies)
        apart = (select.min_distance or select.semdedup) and subject.ndim == 2 and "embeddings" not in inputs.arrays
        self.facts[name] = replace(facts, array=self._prepare("embeddings", subject) if apart else None)

    def _prepare(self, name: str, array: np.ndarray) -> np.ndarray:
        from initpools_cli.strategies.select import prepare

        key = (name, id(array))
        if key not in self._cache:
            self._cache[key] = (array, prepare({name: array}, self.provider.settings.select.normalize)[name])
        return self._cache[key][1]


def build_settings(
    context: Context, spec: ExperimentSpec, *, init_budget: int, rounds: int, candidates: float
) -> ExperimentSettings:
    """Build the settings of an experiment or a labeling round.

    Parameters
    ----------
    init_budget, rounds, candidates
        As in `ExperimentSettings`; a labeling round does not use those of [al].
    """
    from initpools_cli.training.experiment import ExperimentSettings, OutputCounts

    table = context.settings.al
    return ExperimentSettings(
        init_budget=init_budget,
        budget=table.budget,
        rounds=rounds,
        candidates=candidates,
        validation=table.validation,
        seed=context.seed,
        space=table.space,
        outputs=OutputCounts(table.views, table.passes, table.members),
        select=context.settings.select,
        learners=spec.learners,
    )


def _find_pretrain(context: Context, embed_step: FinishedStep | None, source: str, learner: str) -> FinishedStep:
    """Find the pretrain whose weights a learner starts from: the source of the embeddings."""
    if embed_step is None and not source:
        used = context.loop_embeddings(context.run)
        return (used and context.run.find_step(f"pretrain/{used.name}")) or pretrain_of(context)
    step_id = f"pretrain/{source}" if embed_step is None else str(embed_step.table.get("source", ""))
    step = context.run.find_step(step_id) if step_id.startswith("pretrain/") else None
    if step is None:
        name = source if embed_step is None else embed_step.name
        pretrains = ", ".join(each.name for each in context.run.steps("pretrain"))
        raise UserError(
            f"The learner {learner} needs a pretrained encoder, and '{name}' is not a pretrain of this run.",
            f"Use one of them: --from {pretrains}." if pretrains else "Run `initpools pretrain simclr` first.",
            name,
        )
    return step


def _find_embeddings(context: Context, spec: ExperimentSpec, input_names: set[str], source: str) -> FinishedStep | None:
    """Find the embeddings that the sweep reads; None if nothing in it reads embeddings."""
    required = input_names.union(*(each.inputs for each in spec.strategies))
    if "embeddings" in required or any(each.reads_embeddings for each in spec.strategies):
        return newest(context, source)
    if source and "encoder" not in input_names:
        raise UserError(f"--from {source} has no effect: this sweep reads no embeddings.", "Leave out --from.", source)
    return None


def _is_about(context: Context, strategy: StrategySpec, embed_step: FinishedStep) -> bool:
    """Return whether the inputs of the strategy can come from the same source as the embeddings."""
    if strategy.reads_embeddings or "embeddings" in strategy.inputs:
        return True
    return bool(strategy.score) and can_score(context, strategy.score, embed_step.name)


def _labeled_only(data: Dataset, name: str, array: np.ndarray) -> np.ndarray:
    """Restrict the rows of a split other than train to its labeled images, if it has labels."""
    split = data.splits[name]
    if name == "train" or split.labels is None or len(split.labeled) == len(split.labels):
        return array
    return array[split.labeled]


def labels_of(context: Context) -> dict[str, np.ndarray]:
    """Return the labels of every labeled split.

    Raises
    ------
    UserError
        If there is no labeled test split, or no validation split and the validation policy needs one.
    """
    splits = context.data.splits
    labels = {name: split.labels for name, split in splits.items() if split.labels is not None}
    for name, split in splits.items():
        if name != "train" and name in labels and len(split.labeled) < len(labels[name]):
            context.report.say(
                f"{len(split.labeled)} of the {len(labels[name])} {name} images have labels; the others are ignored."
            )
            labels[name] = labels[name][split.labeled]
    if not {"train", "test"} <= labels.keys():
        raise UserError(
            f"{context.data.spec.name} has no labeled test split for the evaluation.",
            "Use a data set with labels for its test split.",
            context.data.spec.name,
        )
    if context.settings.al.validation == "free-val" and "val" not in labels:
        raise UserError(
            "validation = free-val needs a validation split, which this data set does not have.",
            "Use --set al.validation=none or --set al.validation=from-budget.",
            "free-val",
        )
    return labels
