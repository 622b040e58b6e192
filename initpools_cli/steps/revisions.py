"""Which methods of a finished step give other results in this version of initpools."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from initpools_cli.core.errors import UserError
from initpools_cli.core.registry import Method
from initpools_cli.core.rundir import Done


def revised_since(done: Done) -> list[str]:
    """Names of the step's methods whose results have changed since it was made, sorted.

    Such a step stays readable. It is never taken for the same step made now, because the revisions are part of the
    digest.
    """
    table = done.table
    stored = table.get("revisions", {})
    return sorted(
        {
            method.name
            for method, knobs in _methods_of(done.id.partition("/")[0], table)
            if method.revision(knobs) > stored.get(method.name, 1)
        }
    )


def _methods_of(kind: str, table: Mapping[str, Any]) -> Iterator[tuple[Method, Mapping[str, Any]]]:
    """The methods that a step's table names, each with its knobs; names that are no longer registered are left out."""
    from initpools_cli.pretext.registry import pretexts
    from initpools_cli.scores.registry import scores
    from initpools_cli.training.learners.registry import learners

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
    if "learner" in table:
        names = [table["learner"]] if isinstance(table["learner"], str) else table["learner"]
        yield from ((learners.get(name), params.get(name, params)) for name in names if name in learners)


def _of_strategy(name: str, params: Mapping[str, Any]) -> Iterator[tuple[Method, Mapping[str, Any]]]:
    from initpools_cli.steps.inputs import named

    try:
        strategy = named(name)
    except UserError:
        return
    yield strategy.method, params
    if strategy.scoring is not None:
        yield strategy.scoring, params
