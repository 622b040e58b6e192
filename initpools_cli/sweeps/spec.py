"""The strategies, queries and learners of an experiment, as named in [al]; the data set is not opened."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from initpools_cli.core.config import AlTable
from initpools_cli.core.errors import UserError, nearest
from initpools_cli.core.registry import Method
from initpools_cli.datasets.multilabel import one_class_error
from initpools_cli.steps.context import Context
from initpools_cli.steps.find_ranking import find_ranking, leaks_test
from initpools_cli.steps.strategy_name import StrategySpec, parse_strategy, refuse_same_stem
from initpools_cli.strategies.arrays import MODEL_OUTPUTS, ONE_CLASS
from initpools_cli.strategies.balance import Balance

if TYPE_CHECKING:
    from initpools_cli.training.learners.registry import LearnerTraits


@dataclass(frozen=True)
class ExperimentSpec:
    """First pools, queries and learners of an experiment.

    Attributes
    ----------
    inits, queries : list of StrategySpec
    learners : dict of str to dict
        All knobs of each learner.
    knobs : dict of str to dict
        Knobs from [al.params], by the name of the learner or strategy, with or without suffix.
    """

    inits: list[StrategySpec]
    queries: list[StrategySpec]
    learners: dict[str, dict[str, Any]]
    knobs: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def strategies(self) -> list[StrategySpec]:
        """First pools and queries without repetition."""
        return list({each.name: each for each in [*self.inits, *self.queries]}.values())

    def knobs_of(self, strategy: StrategySpec) -> dict[str, Any]:
        """Return the knobs of a strategy from [al.params]; its full name overrides the name without suffix."""
        return self.knobs.get(strategy.base, {}) | self.knobs.get(strategy.name, {})


def build_spec(context: Context, *, multilabel: bool = False) -> ExperimentSpec:
    """Resolve the strategies, queries and learners of [al]; the data set is not opened.

    Parameters
    ----------
    context : Context
    multilabel : bool
        Whether images can have several labels.

    Raises
    ------
    UserError
        If a name or knob is unknown, a name is repeated, a first pool needs a model, a query needs outputs that a
        learner does not provide, a learner cannot learn several labels per image, or a balance is set for all
        strategies.
    """
    from initpools_cli.training.learners.registry import learners
    from initpools_cli.training.model_outputs import require_outputs

    table, select = context.settings.al, context.settings.select
    _refuse_balance(context)

    def resolve(name: str) -> StrategySpec:
        strategy = parse_strategy(name)
        if multilabel:
            strategy = strategy.for_multilabel()
        if strategy.balance.kind != "kmeans":
            return strategy
        return strategy.with_clusters(lambda own: own or context.clusters(select.n_clusters))

    inits, queries = [resolve(each) for each in table.init], [resolve(each) for each in table.query]
    methods = [learners.get(each) for each in table.learner]
    refuse_same_stem([*inits, *queries])
    _refuse_same("--init", inits)
    _refuse_same("--query", queries)
    _refuse_twice("--learner", [each.name for each in methods])
    _refuse_models_first(inits)
    for method in methods:
        if multilabel and not method.traits.multilabel:
            able = ", ".join(each.name for each in learners if each.traits.multilabel)
            raise one_class_error(f"The learner '{method.name}'", f"Use another --learner: {able}.")
    for query in queries:
        if multilabel and ONE_CLASS & {*query.method.optional}:
            raise one_class_error(f"The query '{query.name}'", "Use it in --init, where it reads embeddings alone.")
        for method in methods:
            require_outputs(query.name, query.method, method, table.space)
    knobs = _knobs(table, [each.name for each in methods], [*inits, *queries])
    return ExperimentSpec(
        inits, queries, {each.name: _preset(each, dict(knobs.get(each.name, {})), context) for each in methods}, knobs
    )


def leaking_rankings(context: Context, spec: ExperimentSpec) -> list[str]:
    """Return the names of strategies that follow a ranking made with the labels of the test split."""
    followers = [each for each in spec.strategies if each.ranking]
    return [each.name for each in followers if leaks_test(find_ranking(context, each.ranking))]


def _refuse_twice(flag: str, names: list[str]) -> None:
    """Refuse repeated names, whose seeds would count twice."""
    for name in names:
        if names.count(name) > 1:
            raise UserError(
                f"{flag} names {name} more than once.", "List each once; aliases are the same strategy.", name
            )


def _refuse_same(flag: str, strategies: list[StrategySpec]) -> None:
    _refuse_twice(flag, [each.name for each in strategies])
    names: dict[tuple[str, Balance], str] = {}
    for each in strategies:
        same = names.setdefault((each.base, each.balance if each.balance.kind == "kmeans" else Balance()), each.name)
        if each.balance.kind == "kmeans" and same != each.name:
            raise UserError(
                f"{flag} has {same} and {each.name}, which are the same: both have {each.balance.n_clusters} clusters.",
                "List only one of them.",
                each.name,
            )


def _refuse_balance(context: Context) -> None:
    """Refuse a balance for all strategies, because it would also apply to the baseline ``random``."""
    table, select = context.settings.al, context.settings.select
    if select.balance == "none":
        return
    suffix = Balance(select.balance, select.n_clusters if select.balance == "kmeans" else 0).suffix
    options = {"--init": table.init, "--query": table.query}
    overrides = {flag: names for flag, names in options.items() if f"al.{flag[2:]}" in context.origins} or options
    names = [name for each in overrides.values() for name in each]
    spread = {name for name in names if "@" not in name and name != "random"} or {"random"}
    suggestions = (
        f"{flag} {','.join(name + suffix if name in spread else name for name in each)}"
        for flag, each in overrides.items()
    )
    raise UserError(
        f"select.balance = '{select.balance}' ({context.origins['select.balance']}) would apply to every strategy of "
        "the sweep, including random.",
        f"Leave it out, and use a suffix for single strategies: {' '.join(suggestions)}.",
        select.balance,
    )


def _refuse_models_first(inits: list[StrategySpec]) -> None:
    for init in inits:
        outputs = MODEL_OUTPUTS & set(init.method.inputs)
        if outputs:
            names = ", ".join(sorted(outputs))
            raise UserError(
                f"--init {init.name} needs a trained model for {names}, but a first pool has none.",
                f"Use --query {init.argument}, and for --init a strategy without a model: `initpools list strategies`.",
                init.name,
            )


def _knobs(table: AlTable, names: list[str], strategies: list[StrategySpec]) -> dict[str, dict[str, Any]]:
    """Split [al.params] by learner or strategy; flat knobs belong to the only learner."""
    flat = {key: value for key, value in table.params.items() if not isinstance(value, dict)}
    by_name = {key: value for key, value in table.params.items() if isinstance(value, dict)}
    if flat and len(names) > 1:
        raise UserError(
            f"al.params = {flat} is ambiguous: the learners are {', '.join(names)}.",
            f"Use for example --set al.params.{names[0]}='{{{next(iter(flat))} = …}}'.",
            flat,
        )
    valid = list(dict.fromkeys([*names, *(name for each in strategies for name in (each.base, each.name))]))
    for name in by_name:
        if name not in valid:
            guess = nearest(name, valid)
            hint = f"Did you mean '{guess}'? " if guess else ""
            raise UserError(
                f"al.params.{name} has no effect: '{name}' is not in this sweep.",
                f"{hint}Use one of {', '.join(valid)}.",
                name,
            )
    return by_name | ({names[0]: flat | by_name.get(names[0], {})} if flat else {})


def _preset(learner: Method[LearnerTraits], knobs: dict[str, Any], context: Context) -> dict[str, Any]:
    """Return all knobs of a learner: from [al.params], else its preset, else its defaults."""
    presets = learner.traits.presets
    name = knobs.pop("preset", "quick")
    if name not in presets:
        guess = nearest(str(name), presets)
        hint = f"Did you mean '{guess}'? " if guess else ""
        raise UserError(
            f"The learner {learner.name} has no preset {name!r}.",
            f"{hint}Use one of {', '.join(sorted(presets))}.",
            repr(name),
        )
    return learner.validate({**presets[name], **knobs}, context.knob_origins(knobs, *knob_tables(learner.name)))


def knob_tables(name: str, base: str = "") -> list[str]:
    """Return the tables that may hold the knobs of a learner or strategy: of its name, of its base name, of all."""
    return [*(f"al.params.{each}" for each in dict.fromkeys((name, base)) if each), "al.params"]
