"""Parse the name of a strategy: its method, the score it ranks by, and how its picks are balanced."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from initpools_cli.core.config import SelectTable
from initpools_cli.core.errors import UserError, unknown_name
from initpools_cli.core.plugins import plugin_of
from initpools_cli.core.registry import Method, revisions_of, unknown_knob
from initpools_cli.datasets.multilabel import one_class_error
from initpools_cli.scores.traits import ScoreTraits
from initpools_cli.steps.score_name import is_oracle, score_names, unknown_score
from initpools_cli.steps.user_files import UserFiles
from initpools_cli.strategies.arrays import inputs_of
from initpools_cli.strategies.balance import UNBALANCED, Balance, split_name
from initpools_cli.strategies.plugin import strategy_of
from initpools_cli.strategies.registry import find_strategy, for_multilabel
from initpools_cli.strategies.traits import StrategyTraits

#: Prefix of a strategy that follows a ranking of the run.
RANKING_PREFIX = "rank/"


@dataclass(frozen=True)
class StrategySpec:
    """A strategy as the user names it.

    Attributes
    ----------
    name : str
        The public name: a registered strategy's, or a score's, with the suffix that spreads its picks over clusters.
    method : Method
        What runs: for a score's name, the strategy "score".
    score : str
        The score it ranks by, or "".
    scoring : Method or None
        That score, if it is registered and not a pretext task's loss.
    balance : Balance
        How its picks are spread over clusters.
    ranking : str
        The ranking of the run that it follows, or "".
    """

    name: str
    method: Method[StrategyTraits]
    score: str = ""
    scoring: Method[ScoreTraits] | None = None
    balance: Balance = UNBALANCED
    ranking: str = ""

    @property
    def base(self) -> str:
        """The name without the suffix."""
        return self.name.partition("@")[0]

    @property
    def folder(self) -> str:
        """The name as a part of a folder's name."""
        return self.name.replace(":", "-").replace("/", "-")

    @property
    def argument(self) -> str:
        """The strategy as an argument of a command: the name, or the file and the function."""
        plugin = plugin_of(self.method)
        return self.name if plugin is None else plugin.argument + self.balance.suffix

    @property
    def oracle(self) -> bool:
        """Whether it, or the score it ranks by, looks at labels of images that are not bought."""
        return is_oracle(self.method) or (self.scoring is not None and is_oracle(self.scoring))

    @property
    def spellings(self) -> list[str]:
        """All names that a balanced strategy has: a step of a run may have been made under any of them."""
        kind, suffix = self.balance.kind, self.balance.suffix
        base = self.folder.partition("@")[0]
        return [] if kind == "none" else [base, f"{base}@{kind}", f"{base}{suffix}"]

    @property
    def inputs(self) -> set[str]:
        """The names of its inputs, with those of the balance."""
        return set(inputs_of(self.method, self.balance.kind))

    def with_clusters(self, count: Callable[[int], int]) -> StrategySpec:
        """The same strategy with ``count(n)`` clusters, where n is the number in its name, or 0."""
        return replace(self, balance=replace(self.balance, n_clusters=count(self.balance.n_clusters)))

    @property
    def reads_embeddings(self) -> bool:
        """Whether it, or the score it ranks by, reads embeddings."""
        return "embeddings" in {*self.method.inputs, *(self.scoring.inputs if self.scoring else ())}

    def for_multilabel(self) -> StrategySpec:
        """The same strategy for a data set with several labels per image.

        Raises
        ------
        UserError
            It needs one class per image.
        """
        from initpools_cli.strategies.registry import strategies

        method = for_multilabel(self.method)
        if method is None or self.oracle:
            able = ", ".join(each.name for each in strategies if each.traits.multilabel is not None)
            raise one_class_error(
                f"'{self.name}'", f"Use a strategy that reads embeddings alone, or a query for several labels: {able}."
            )
        return replace(self, method=method)

    @property
    def settable(self) -> set[str]:
        """The knobs that can be set by name alone: its own, and those of its score."""
        return {*self.method.knobs, *(self.scoring.knobs if self.scoring else ())} - {"order"}

    def score_knobs(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The entries of `params` that are knobs of its score; a knob that both have is the strategy's own."""
        if self.scoring is None:
            return {}
        return {key: value for key, value in params.items() if key in {*self.scoring.knobs} - {*self.method.knobs}}

    def identity(self, knobs: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
        """Its settings and versions, for the table of a step in which it chooses.

        Parameters
        ----------
        knobs : mapping
            The values of all its own knobs.
        params : mapping
            The knobs that the user set, with those of its score.

        Returns
        -------
        dict
            ``params``, and ``revisions`` if a method has one.
        """
        methods: list[tuple[Method, Mapping[str, Any]]] = [(self.method, knobs)]
        values = self.method.identity(knobs)
        if self.scoring is not None:
            of_score = self.score_knobs(params)
            methods.append((self.scoring, of_score))
            values |= self.scoring.identity(of_score)
        return {"params": values, **revisions_of(*methods)}

    def refuse_unknown(self, names: Iterable[str], origins: Mapping[str, str] | None = None) -> None:
        """Refuse a knob that neither the strategy nor its score has."""
        knobs = {*self.method.knobs, *(self.scoring.knobs if self.scoring else ())}
        for key in names:
            if key not in knobs:
                raise unknown_knob(self.name, key, knobs, (origins or {}).get(key, ""))

    def knobs(self, params: Mapping[str, Any], order: str, origins: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The values of all its own knobs; ``select.order`` is one if the strategy has it."""
        order_knob = {"order": order} if "order" in self.method.knobs else {}
        if order != "highest" and not order_knob:
            raise UserError(
                f"order = '{order}' has no effect: '{self.name}' does not rank by a score.", "Leave out order.", order
            )
        self.refuse_unknown(params, origins)
        of_score = self.score_knobs(params)
        own = {key: value for key, value in params.items() if key not in of_score}
        return self.method.validate({**order_knob, **own}, origins)


def parse_strategy(name: str | Callable[..., Any]) -> StrategySpec:
    """Return the strategy of a name, alias, score, or file, with or without a suffix such as ``@kmeans30``.

    Parameters
    ----------
    name : str or callable
        Of ``initpools list strategies``, or ``PATH.py:function``, or ``rank/NAME`` for a ranking of the run, or a
        function.

    Raises
    ------
    UserError
        No such strategy or suffix; or a function that is no strategy.
    """
    from initpools_cli.scores.registry import scores
    from initpools_cli.strategies.registry import strategies

    if not isinstance(name, str):
        plugin = strategy_of(name)
        return StrategySpec(plugin.name, plugin)
    if name.startswith(RANKING_PREFIX):
        # The name of a ranking may have a suffix itself.
        return StrategySpec(name, strategies.get("file"), ranking=name.removeprefix(RANKING_PREFIX))
    base, balance = split_name(name)
    method = find_strategy(base)
    if method is not None:
        return StrategySpec(method.name + balance.suffix, method, balance=balance)
    spec = _on_score(base, balance)
    if spec is not None:
        return spec
    scoring = scores.own(base)
    names = () if scoring else score_names()
    # Plug-ins come last, so that they can't change the meaning of a name.
    if scoring is None and base not in names:
        if base in strategies:
            method = strategies.get(base)
            return StrategySpec(method.name + balance.suffix, method, balance=balance)
        scoring = scores.get(base) if base in scores else None
    if scoring is not None or base in names:
        return StrategySpec(base + balance.suffix, strategies.get("score"), base, scoring, balance)
    if ":" in base:
        stem, _, function = base.rpartition(":")
        raise UserError(f"There is no strategy '{name}'.", f"Name the file: '{stem}.py:{function}'.", name)
    aliases = [alias for method in strategies for alias in method.aliases]
    all_names = (*strategies.names(), *aliases, *names, *strategies.plugin_names(), *scores.plugin_names())
    valid = [f"{each}{balance.suffix}" for each in all_names]
    raise unknown_name("strategy", name, valid, strategies.listing)


def _on_score(base: str, balance: Balance) -> StrategySpec | None:
    """The strategy and the score of a name such as ``ccs+typicality``; None for other names.

    Raises
    ------
    UserError
        There is no such score.
    """
    from initpools_cli.scores.registry import scores

    name, plus, score = base.partition("+")
    method = find_strategy(name) if plus else None
    if method is None or "scores" not in method.inputs:
        return None
    if score not in scores and score not in score_names():
        raise unknown_score(score)
    scoring = scores.get(score) if score in scores else None
    return StrategySpec(f"{method.name}+{score}{balance.suffix}", method, score, scoring, balance)


def refuse_same_stem(strategies: Iterable[StrategySpec]) -> None:
    """Refuse files of the same name in one command: their functions would have the same names in results.

    Raises
    ------
    UserError
        Two files, such as ``a/mine.py`` and ``b/mine.py``.
    """
    paths: dict[str, str] = {}
    for plugin in filter(None, (plugin_of(each.method) for each in strategies)):
        stem = plugin.name.partition(":")[0]
        other = paths.setdefault(stem, plugin.path)
        if other != plugin.path:
            raise UserError(
                f"The files {other} and {plugin.path} are both called '{stem}' in results.", "Rename one of them.", stem
            )


def with_balance(strategy: StrategySpec, select: SelectTable) -> StrategySpec:
    """Return the strategy with the balance in its name, else that of [select].

    Raises
    ------
    UserError
        Its name and [select] conflict.
    """
    own = strategy.balance
    if own.kind == "none":
        return replace(strategy, balance=Balance(select.balance, select.n_clusters))
    if select.balance not in ("none", own.kind):
        raise UserError(
            f"'{strategy.name}' and select.balance = '{select.balance}' ask for different clusters.",
            f"Leave the balance (--balance, --clusters) out, or write '{strategy.base}@{select.balance}'.",
            select.balance,
        )
    if own.n_clusters and select.n_clusters not in (0, own.n_clusters):
        raise UserError(
            f"'{strategy.name}' and select.n_clusters = {select.n_clusters} ask for different numbers of clusters.",
            f"Leave select.n_clusters out, or write '{strategy.base}@kmeans{select.n_clusters}'.",
            select.n_clusters,
        )
    return replace(strategy, balance=Balance(own.kind, own.n_clusters or select.n_clusters))


def reads_source(strategy: StrategySpec, files: UserFiles) -> bool:
    """Whether ``--from`` has an effect: the strategy reads results of the run that depend on the source."""
    file_inputs, required = files.inputs, strategy.inputs
    missing = required - file_inputs
    of_score = bool(strategy.score) and "scores" in missing and not strategy.oracle
    if strategy.reads_embeddings:
        of_score = of_score and "embeddings" not in file_inputs
    else:
        of_score = of_score and "embeddings" not in required
    of_clusters = "clusters" in missing and not required & {"embeddings", "scores"}
    return of_score or of_clusters or bool(missing & {"embeddings", "patches"})


def refuse_source(strategy: StrategySpec, files: UserFiles, source: str) -> None:
    """Refuse a ``--from`` that has no effect.

    Raises
    ------
    UserError
        The strategy reads no results of the run that depend on the source.
    """
    if source and not reads_source(strategy, files):
        reads_embeddings = strategy.reads_embeddings or "embeddings" in strategy.inputs
        what = "the embeddings in --embeddings" if reads_embeddings and files.embeddings else "no embeddings"
        raise UserError(f"--from {source} has no effect: '{strategy.name}' reads {what}.", "Leave out --from.", source)


def refuse_query_set(strategies: Iterable[StrategySpec], files: UserFiles) -> None:
    """Refuse a ``--query-set`` that no strategy of the command reads.

    Raises
    ------
    UserError
        It has no effect.
    """
    specs = list(strategies)
    if files.query_set is not None and not any("query_set" in each.inputs for each in specs):
        raise UserError(
            f"--query-set {files.query_set} has no effect: '{specs[0].name}' does not read it.",
            "Use the strategy `similar`, or leave out --query-set.",
            files.query_set,
        )
