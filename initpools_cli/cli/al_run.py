"""`initpools al-run`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any

import typer

from initpools_cli.cli.options import Common

EXAMPLE = "Example: initpools al-run --init random,typiclust --query random,margin --budget 10 --rounds 5 --seeds 5"


def command(
    common: Common,
    init: Annotated[str | None, typer.Option("--init", metavar="A,B", help="Strategies of the first pool.")] = None,
    query: Annotated[str | None, typer.Option("--query", metavar="X,Y", help="Strategies of the later rounds.")] = None,
    budget: Annotated[int | None, typer.Option("--budget", "-n", help="Labels bought each round.")] = None,
    init_budget: Annotated[
        int | None, typer.Option("--init-budget", help="Labels of the first pool; default: the budget.")
    ] = None,
    rounds: Annotated[int | None, typer.Option("--rounds", help="Query rounds after the first pool.")] = None,
    seeds: Annotated[int | None, typer.Option("--seeds", help="How often everything is repeated.")] = None,
    learner: Annotated[
        str | None, typer.Option("--learner", metavar="L,…", help="`initpools list learners` names them.")
    ] = None,
    name: Annotated[str, typer.Option("--name", help="The sweep's folder under al/.")] = "main",
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="A,B", help="Whose embeddings, e.g. simclr,pca; default: the newest."),
    ] = None,
    strict: Annotated[
        bool | None, typer.Option("--strict", help="End where a label is read that was not bought.")
    ] = None,
    backend: Annotated[
        str | None, typer.Option("--backend", metavar="processes|dask|ray", help="Who does the work.")
    ] = None,
    scheduler: Annotated[
        str, typer.Option("--scheduler", metavar="ADDRESS", help="Of a Dask scheduler or a Ray cluster.")
    ] = "",
) -> None:
    """Buy labels round by round from each first pool with each query, and measure on the test split, over seeds."""
    from initpools_cli.core.errors import UserError
    from initpools_cli.steps.al import al_run, read_rounds

    flags = {
        "al.init": _names(init),
        "al.query": _names(query),
        "al.learner": _names(learner),
        "al.budget": budget,
        "al.init_budget": init_budget,
        "al.rounds": rounds,
        "al.seeds": seeds,
        "al.encoders": _names(source),
        "al.strict": strict or None,
        "al.backend": backend,
    }
    context = common.start("al", flags, _knobs(_names(learner) or ["linear"]))
    if scheduler and context.settings.al.backend == "processes":
        raise UserError("--scheduler is the address of a cluster, and none is asked for.", "Add --backend dask or ray.")
    done, fresh = al_run(context, name, scheduler)
    _table(common, read_rounds(done))
    common.step_result(done, fresh, "rounds")


def _knobs(learners: list[str]) -> Collection[str]:
    """The knobs of the only learner on the line; of several, ``--set al.params.<learner>=…`` says which."""
    from initpools_cli.training.learners.registry import learners as registry

    return registry.get(learners[0]).knobs if len(learners) == 1 else ()


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def _table(common: Common, rounds: Any) -> None:
    """Mean accuracy after the first pool and after the last round, on standard error."""
    from initpools_cli.analysis.learning_curves import summarise

    if common.quiet:
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    curves = summarise(rounds)
    queried = curves[curves["round"] > 0] if (curves["round"] > 0).any() else curves
    last = queried[queried["round"] == queried["round"].max()]
    first = curves[curves["round"] == 0].groupby(["init", "learner"])["mean"].first()
    after = f"{int(last['labeled'].max())} labels"
    table = Table("init", "query", "learner", "first pool", after, "95 % CI", "seeds", box=box.SIMPLE, pad_edge=False)
    for column in table.columns:
        column.no_wrap = True
    for row in last.itertuples():
        start = first.get((row.init, row.learner))
        interval = "—" if row.low != row.low else f"{max(row.low, 0):.1%} – {min(row.high, 1):.1%}"
        begun = "—" if start is None else f"{float(start):.1%}"
        table.add_row(row.init, row.query, row.learner, begun, f"{row.mean:.1%}", interval, str(row.n_seeds))
    Console(stderr=True).print(table)
