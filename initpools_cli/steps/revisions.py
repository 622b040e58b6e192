"""Methods of a finished step whose results have changed in this version of initpools."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from initpools_cli.core.entry_points import installed_plugin
from initpools_cli.core.errors import UserError
from initpools_cli.core.plugins import sha256_of_source
from initpools_cli.core.registry import Method
from initpools_cli.core.rundir import FinishedStep
from initpools_cli.steps.embedding_scale import rescaled_since


def changed_methods(step: FinishedStep) -> list[str]:
    """Names of the step's methods whose results have changed since it was made, sorted.

    Such a step stays readable. A new step never matches it, because the revisions are part of the digest.
    """
    table = step.table
    revisions = table.get("revisions", {})
    names = {
        method.name
        for method, knobs in [*_methods_of(step.id.partition("/")[0], table), *_learners_of(table)]
        if method.revision(knobs) > revisions.get(method.name, 1)
    }
    names |= {name for name, code in table.get("plugins", {}).items() if _differs(name, code)}
    if rescaled_since(step):
        names |= {method.name for method, _ in _learners_of(table) if "embeddings" in method.inputs}
    return sorted(names)


def _differs(name: str, code: Mapping[str, str]) -> bool:
    """Whether the code of a plug-in has changed; False if it is no longer installed."""
    if "file" in code:
        return sha256_of_source(Path(code["file"])) not in ("", code["sha256"])
    from initpools_cli.scores.registry import scores
    from initpools_cli.strategies.registry import strategies

    group = next((each.group for each in (strategies, scores) if name in each.plugin_names()), "")
    try:
        return bool(group) and installed_plugin(group, name).identity != dict(code)
    except UserError:
        return False


def _methods_of(kind: str, table: Mapping[str, Any]) -> Iterator[tuple[Method, Mapping[str, Any]]]:
    """The methods, other than learners, in a step's table, each with its knobs, if they are still registered."""
    from initpools_cli.pretext.registry import pretexts
    from initpools_cli.scores.registry import scores

    params = table.get("params", {})
    if kind == "pretrain":
        yield from ((pretexts.get(name), params) for name in [table["method"]] if name in pretexts)
    elif kind == "score":
        yield from ((scores.get(name), params) for name in [table["method"]] if name in scores)
    elif kind in ("pool", "rank"):
        yield from _of_strategy(table["strategy"], params)
    elif kind in ("al", "loop"):
        for name in [*table.get("init", []), *table["query"]]:
            yield from _of_strategy(name, params.get(name, {}))


def _learners_of(table: Mapping[str, Any]) -> Iterator[tuple[Method, Mapping[str, Any]]]:
    from initpools_cli.training.learners.registry import learners

    params, named_here = table.get("params", {}), table.get("learner", [])
    names = [named_here] if isinstance(named_here, str) else named_here
    yield from ((learners.get(name), params.get(name, params)) for name in names if name in learners)


def _of_strategy(name: str, params: Mapping[str, Any]) -> Iterator[tuple[Method, Mapping[str, Any]]]:
    from initpools_cli.steps.strategy_name import parse_strategy

    try:
        strategy = parse_strategy(name)
    except UserError:
        return
    yield strategy.method, params
    if strategy.scoring is not None:
        yield strategy.scoring, params
