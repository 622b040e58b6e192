"""Set a sweep up: what its strategies, queries and learners are, and the arrays that each of them reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from initpools_cli.core.config import AlTable, SelectTable
from initpools_cli.core.errors import UserError, nearest
from initpools_cli.core.registry import Method, revisions_of
from initpools_cli.core.rundir import FinishedStep
from initpools_cli.steps.context import Context
from initpools_cli.steps.embed import matrix, newest
from initpools_cli.steps.embedding_scale import learner_scaling, refuse_without_embeddings
from initpools_cli.steps.encoder import pretrain_of
from initpools_cli.steps.pretrained import pretrained
from initpools_cli.steps.rows import identity, tell, there
from initpools_cli.steps.score import can_score
from initpools_cli.steps.strategy_inputs import supply
from initpools_cli.steps.strategy_name import StrategySpec, named
from initpools_cli.steps.user_files import UserFiles
from initpools_cli.strategies.arrays import MODEL_OUTPUTS
from initpools_cli.strategies.balance import Balance
from initpools_cli.strategies.duplicates import RowFacts

if TYPE_CHECKING:
    from initpools_cli.datasets.spec import Dataset
    from initpools_cli.training.experiment import ExperimentData, ExperimentSettings
    from initpools_cli.training.learners.registry import LearnerTraits


@dataclass(frozen=True)
class ExperimentSpec:
    """Who takes part in a sweep.

    Attributes
    ----------
    inits, queries : list of StrategySpec
    learners : dict of str to dict
        Each learner with the values of all its knobs.
    knobs : dict of str to dict
        What was given for each of them in [al.params], strategies by their names with and without a suffix.
    """

    inits: list[StrategySpec]
    queries: list[StrategySpec]
    learners: dict[str, dict[str, Any]]
    knobs: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def strategies(self) -> list[StrategySpec]:
        """First pools and queries, each once."""
        return list({each.name: each for each in [*self.inits, *self.queries]}.values())

    def knobs_of(self, strategy: StrategySpec) -> dict[str, Any]:
        """What was given for a strategy: under its name without a suffix, and over that under its full name."""
        return self.knobs.get(strategy.base, {}) | self.knobs.get(strategy.name, {})


def cast_of(context: Context, table: AlTable) -> ExperimentSpec:
    """The strategies, queries and learners that [al] names.

    Raises
    ------
    UserError
        Unknown or repeated names, knobs that nothing has, a first pool that asks a model, a query that asks what a
        learner can't give, or a balance for all of them.
    """
    from initpools_cli.training.learners.registry import learners
    from initpools_cli.training.model_outputs import require_outputs

    select = context.settings.select
    _refuse_balance(context, table)

    def taking_part(name: str) -> StrategySpec:
        strategy = named(name)
        if strategy.balance.kind != "kmeans":
            return strategy
        return strategy.counted(lambda own: own or context.clusters(select.n_clusters))

    inits, queries = [taking_part(each) for each in table.init], [taking_part(each) for each in table.query]
    methods = [learners.get(each) for each in table.learner]
    _refuse_same("--init", inits)
    _refuse_same("--query", queries)
    _refuse_twice("--learner", [each.name for each in methods])
    _refuse_models_first(inits)
    for query in queries:
        for method in methods:
            require_outputs(query.name, query.method, method, table.space)
    given = _knobs(table, [each.name for each in methods], [*inits, *queries])
    return ExperimentSpec(
        inits, queries, {each.name: _preset(each, dict(given.get(each.name, {})), context) for each in methods}, given
    )


def identity_of(
    cast: ExperimentSpec, strategies: Iterable[StrategySpec], experiment: ExperimentData, select: SelectTable
) -> dict[str, Any]:
    """What of the settings and versions of learners and strategies identifies a sweep or a round.

    Returns
    -------
    dict
        ``params``: the knobs by the name of the learner or strategy; ``revisions`` where a method has one; and how many
        rows are zero or copies, where there are any.
    """
    from initpools_cli.training.learners.registry import learners

    methods: list[tuple[Method, Mapping[str, Any]]] = [
        (learners.get(name), knobs) for name, knobs in cast.learners.items()
    ]
    params = {method.name: method.identity(knobs) for method, knobs in methods}
    for each in strategies:
        knobs = dict(experiment.calls[each.name].knobs)
        methods.append((each.method, knobs))
        if each.scoring is not None:
            methods.append((each.scoring, each.score_knobs(cast.knobs_of(each))))
        if knobs:
            params[each.name] = each.method.identity(knobs)
    marks: dict[str, int] = {}
    for each in strategies:
        marks |= identity(experiment.row_facts.get(each.name), experiment.kept, None, select)
    return {"params": params, **revisions_of(*methods), **marks}


def arena_of(
    context: Context,
    cast: ExperimentSpec,
    source: str,
    labels: Mapping[str, np.ndarray],
    classes: int,
    kept: np.ndarray,
    brought: UserFiles | None = None,
) -> tuple[ExperimentData, dict[str, str]]:
    """The experiment of one encoder, and the checksums of what it reads.

    Parameters
    ----------
    source : str
        Whose embeddings; empty: the newest.
    labels : mapping of str to (n,) int64
        By split.
    classes : int
    kept : (n train,) bool
        The images that may be bought.
    brought : UserFiles, optional
        The images to exclude from them.

    Raises
    ------
    UserError
        Nothing that `source` could be of.
    """
    from initpools_cli.strategies.select import prepare
    from initpools_cli.training.experiment import ExperimentData, MethodCall
    from initpools_cli.training.learners.registry import learners as registry

    data, select = context.data, context.settings.select
    asked = set().union(*(registry.get(name).inputs for name in cast.learners))
    on_images = "images" in asked or any("vaal_scores" in each.method.inputs for each in cast.queries)
    if "embeddings" not in asked:
        refuse_without_embeddings(context, cast.learners)
    embedded = _embedded(context, cast, asked, source)
    files = brought or UserFiles()
    kept = kept & there(context, files)
    images = np.flatnonzero(kept)
    reads: dict[str, str] = {}
    given: dict[str, dict[str, np.ndarray]] = {}
    strategy: dict[str, MethodCall] = {}
    # Strategies that read the same embeddings get the same array, so that it is scaled and sent to processes once.
    ready: dict[tuple[str, str | int], np.ndarray] = {}
    known: dict[str | int, RowFacts] = {}
    facts: dict[str, RowFacts] = {}
    # What is alive has an id of its own.
    supplies = []

    def prepared(name: str, array: np.ndarray) -> np.ndarray:
        key = (name, _source_of(array))
        if key not in ready:
            ready[key] = prepare({name: array}, select.normalize)[name]
        return ready[key]

    for each in cast.strategies:
        knobs = cast.knobs_of(each)
        about = embedded.name if embedded is not None and _is_about(context, each, embedded) else ""
        supplied = supply(context, each, files, about, knobs, with_model=True)
        supplies.append(supplied)
        reads |= supplied.reads
        missing = sorted(each.needed - MODEL_OUTPUTS - supplied.arrays.keys())
        if missing:
            raise UserError(
                f"'{each.name}' needs {missing[0]}, which a sweep makes for no strategy.",
                "Take another for --init and --query.",
            )
        given[each.name] = {name: prepared(name, array) for name, array in supplied.arrays.items()}
        subject = supplied.subject
        if subject is not None:
            key = _source_of(subject)
            known[key] = known[key] if key in known else RowFacts.of(subject)
            tell(context.report, known[key], images, None, select.copies)
            apart = select.min_distance and subject.ndim == 2 and "embeddings" not in supplied.arrays
            facts[each.name] = replace(known[key], array=prepared("embeddings", subject) if apart else None)
        order = select.order if "order" in each.method.knobs else "highest"
        strategy[each.name] = MethodCall(
            each.method.name, each.knobs(knobs, order, _origins(context, each.name, each.base, knobs)), each.balance
        )
    inputs: dict[str, Mapping[str, np.ndarray]] = {}
    noted: dict[str, str] = {}
    if embedded is not None and "embeddings" in asked:
        apply, noted = learner_scaling(context, embedded, there(context, files))
        inputs["embeddings"] = {name: apply(_measured(data, name, matrix(embedded, name))) for name in data.splits}
        reads |= embedded.checksums(*(f"{split}.npy" for split in data.splits))
    if on_images:
        inputs["images"] = {name: _measured(data, name, split.images) for name, split in data.splits.items()}
    begun, encoder = None, "" if embedded is None else embedded.name
    if "encoder" in asked:
        done = _behind(context, embedded, source)
        encoder = encoder or done.name
        begun, checksums = pretrained(context, done)
        reads |= checksums
    experiment = ExperimentData(
        encoder=encoder,
        inputs=inputs,
        arrays=given,
        calls=strategy,
        labels=labels,
        kept=kept,
        classes=classes,
        oracles=frozenset(each.name for each in cast.strategies if each.oracle),
        pretrained=begun,
        row_facts=facts,
        scale=noted,
    )
    return experiment, reads


def _source_of(array: np.ndarray) -> str | int:
    """What tells an array from others: the file that it is mapped from, else itself."""
    return str(array.filename) if isinstance(array, np.memmap) and array.filename is not None else id(array)


def protocol_of(
    context: Context, table: AlTable, cast: ExperimentSpec, *, init_budget: int, rounds: int, candidates: float
) -> ExperimentSettings:
    """The rules of a comparison, or of a round of labeling.

    Parameters
    ----------
    init_budget, rounds, candidates
        As in `training.experiment.Protocol`: a round of labeling has other ones than [al] says.
    """
    from initpools_cli.training.experiment import ExperimentSettings, OutputCounts

    select = context.settings.select
    return ExperimentSettings(
        init_budget=init_budget,
        budget=table.budget,
        rounds=rounds,
        candidates=candidates,
        validation=table.validation,
        seed=context.seed,
        space=table.space,
        outputs=OutputCounts(table.views, table.passes, table.members),
        normalize=select.normalize,
        sample=select.sample,
        copies=select.copies,
        min_distance=select.min_distance,
        learners=cast.learners,
    )


def _behind(context: Context, embedded: FinishedStep | None, source: str) -> FinishedStep:
    """The pretrain whose weights `finetune` begins from: the one that the embeddings are of."""
    if embedded is None and not source:
        return pretrain_of(context)
    begun = f"pretrain/{source}" if embedded is None else str(embedded.table.get("source", ""))
    done = context.run.find_step(begun) if begun.startswith("pretrain/") else None
    if done is None:
        wanted = source if embedded is None else embedded.name
        there = ", ".join(step.name for step in context.run.steps("pretrain")) or "none yet"
        raise UserError(
            f"The learner finetune begins from a pretrained encoder, and '{wanted}' is none.",
            f"Name one of this run's with --from: {there}.",
        )
    return done


def _embedded(context: Context, cast: ExperimentSpec, asked: set[str], source: str) -> FinishedStep | None:
    """The embeddings that the sweep reads, if anything in it does."""
    wanted = asked.union(*(each.needed for each in cast.strategies))
    if "embeddings" in wanted or any(each.reads_embeddings for each in cast.strategies):
        return newest(context, source)
    if source and "encoder" not in asked:
        raise UserError(f"Nothing in this sweep reads embeddings: --from {source} means nothing.", "Leave it out.")
    return None


def _is_about(context: Context, strategy: StrategySpec, embedded: FinishedStep) -> bool:
    """Whether what the strategy reads can come from the same source as the embeddings: scores may be of another."""
    if strategy.reads_embeddings or "embeddings" in strategy.needed:
        return True
    return bool(strategy.score) and can_score(context, strategy.score, embedded.name)


def _measured(data: Dataset, name: str, array: np.ndarray) -> np.ndarray:
    """The rows of a split that are looked at: all of train, and elsewhere those with a label, where some have one."""
    split = data.splits[name]
    if name == "train" or split.labels is None or len(split.labeled) == len(split.labels):
        return array
    return array[split.labeled]


def labels_of(context: Context) -> dict[str, np.ndarray]:
    """The labels of every split that has them.

    Raises
    ------
    UserError
        No labeled test split, or no validation split where the policy wants one.
    """
    splits = context.data.splits
    found = {name: split.labels for name, split in splits.items() if split.labels is not None}
    for name, split in splits.items():
        if name != "train" and name in found and len(split.labeled) < len(found[name]):
            context.report.say(
                f"{len(split.labeled)} of the {len(found[name])} {name} images have a label: only they count."
            )
            found[name] = found[name][split.labeled]
    if not {"train", "test"} <= found.keys():
        raise UserError(f"{context.data.spec.name} has no labeled test split to measure on.", "Bring one with labels.")
    if context.settings.al.validation == "free-val" and "val" not in found:
        raise UserError(
            "validation = free-val reads a validation split, and this data set has none.",
            "Use --set al.validation=none or from-budget.",
        )
    return found


def _refuse_twice(flag: str, names: list[str]) -> None:
    """A name given twice would count its seeds twice."""
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{flag} names {name} more than once.", "Name each once; aliases are the same strategy.")


def _refuse_same(flag: str, strategies: list[StrategySpec]) -> None:
    _refuse_twice(flag, [each.name for each in strategies])
    seen: dict[tuple[str, Balance], str] = {}
    for each in strategies:
        same = seen.setdefault((each.base, each.balance if each.balance.kind == "kmeans" else Balance()), each.name)
        if each.balance.kind == "kmeans" and same != each.name:
            raise UserError(
                f"{flag} names {same} and {each.name}, which are one: there are {each.balance.n_clusters} clusters.",
                "Name one of them.",
            )


def _refuse_balance(context: Context, table: AlTable) -> None:
    """A balance for all strategies would spread ``random`` too, and then the control is not random."""
    select = context.settings.select
    if select.balance == "none":
        return
    suffix = Balance(select.balance, select.n_clusters if select.balance == "kmeans" else 0).suffix
    asked = {"--init": table.init, "--query": table.query}
    given = {flag: names for flag, names in asked.items() if f"al.{flag[2:]}" in context.given} or asked
    names = [name for each in given.values() for name in each]
    spread = {name for name in names if "@" not in name and name != "random"} or {"random"}
    typed = (
        f"{flag} {','.join(name + suffix if name in spread else name for name in each)}" for flag, each in given.items()
    )
    raise UserError(
        f"select.balance = '{select.balance}' ({context.given['select.balance']}) would spread the picks of every "
        "strategy here, those of random too.",
        f"Leave it out, and name what is to be spread: {' '.join(typed)}.",
    )


def _refuse_models_first(inits: list[StrategySpec]) -> None:
    for init in inits:
        asked = MODEL_OUTPUTS & set(init.method.inputs)
        if asked:
            raise UserError(
                f"--init {init.name} asks a model for {', '.join(sorted(asked))}, and at first there is none.",
                "Take it as --query, and for --init a strategy that needs no model (`initpools list strategies`).",
            )


def _knobs(table: AlTable, names: list[str], strategies: list[StrategySpec]) -> dict[str, dict[str, Any]]:
    """[al.params] as one table a learner or strategy; flat knobs are those of the only learner."""
    flat = {key: value for key, value in table.params.items() if not isinstance(value, dict)}
    given = {key: value for key, value in table.params.items() if isinstance(value, dict)}
    if flat and len(names) > 1:
        raise UserError(
            f"al.params = {flat} does not say which of {', '.join(names)} it is for.",
            f"Write for example --set al.params.{names[0]}='{{{next(iter(flat))} = …}}'.",
        )
    known = list(dict.fromkeys([*names, *(name for each in strategies for name in (each.base, each.name))]))
    for name in given:
        if name not in known:
            raise UserError(f"al.params.{name} is for nothing in this sweep.", f"It has: {', '.join(known)}.")
    return given | ({names[0]: flat | given.get(names[0], {})} if flat else {})


def _preset(learner: Method[LearnerTraits], given: dict[str, Any], context: Context) -> dict[str, Any]:
    """All knobs of a learner: those given, over those of the preset that is named, over its defaults."""
    presets = learner.traits.presets
    name = given.pop("preset", "quick")
    if name not in presets:
        guess = nearest(str(name), presets)
        hint = f"Did you mean '{guess}'? " if guess else ""
        raise UserError(
            f"The learner {learner.name} has no preset {name!r}.", f"{hint}It has: {', '.join(sorted(presets))}."
        )
    return learner.validate({**presets[name], **given}, _origins(context, learner.name, "", given))


def _origins(context: Context, name: str, base: str, knobs: Iterable[str]) -> dict[str, str]:
    """Where the knobs of a learner or strategy were set: under its own name, else under another or under none."""
    tables = [f"al.params.{each}" for each in dict.fromkeys((name, base)) if each]
    return context.origins(knobs, *tables, "al.params")
