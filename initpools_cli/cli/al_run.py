"""`initpools al-run`."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from initpools_cli.cli import completion
from initpools_cli.cli.options import Common, Exclude, Export, ImageUrl, brought, names_of

if TYPE_CHECKING:
    from pandas import DataFrame

STRATEGIES = completion.several_of(completion.strategy)
LABELING = "Labeling, instead of a sweep"

EXAMPLE = "Example: initpools al-run --init random,typiclust --query random,margin --budget 10 --rounds 5 --seeds 10"


def command(
    common: Common,
    init: Annotated[
        str | None,
        typer.Option(
            "--init",
            metavar="A,B",
            help="Strategies of the first pool, e.g. random,typiclust@kmeans30.",
            autocompletion=STRATEGIES,
        ),
    ] = None,
    query: Annotated[
        str | None,
        typer.Option("--query", metavar="X,Y", help="Strategies of the later rounds.", autocompletion=STRATEGIES),
    ] = None,
    budget: Annotated[int | None, typer.Option("--budget", "-n", help="Labels bought each round.")] = None,
    init_budget: Annotated[
        int | None, typer.Option("--init-budget", help="Labels of the first pool; default: the budget.")
    ] = None,
    rounds: Annotated[int | None, typer.Option("--rounds", help="Query rounds after the first pool.")] = None,
    seeds: Annotated[int | None, typer.Option("--seeds", help="How often everything is repeated.")] = None,
    learner: Annotated[
        str | None,
        typer.Option(
            "--learner",
            metavar="L,…",
            help="`initpools list learners` names them.",
            autocompletion=completion.several_of(completion.learners),
        ),
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
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels",
            metavar="FILE",
            help="What annotators bring: a .csv, an export of Label Studio or CVAT, or a folder per class.",
            rich_help_panel=LABELING,
        ),
    ] = None,
    next_batch: Annotated[
        Path | None,
        typer.Option(
            "--next",
            metavar="FILE",
            help="Write what to label next here: --budget images that --query asks for (.csv, .json or .npy).",
            rich_help_panel=LABELING,
        ),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            "--predictions",
            metavar="FILE.csv",
            help="Write what the model takes all other images for, with its confidence.",
            rich_help_panel=LABELING,
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            "--classes",
            metavar="A,B",
            help="The only classes there can be; default: those of the data set, else any.",
        ),
    ] = None,
    exclude: Exclude = None,
    export: Export = None,
    image_url: ImageUrl = "",
) -> None:
    """Buy labels round by round over seeds and measure; or, with --labels, train on real labels and say which next."""
    from initpools_cli.cli.al_run_labels import RoundRequest, run_round
    from initpools_cli.core.errors import UserError
    from initpools_cli.sweeps.results import rounds_of
    from initpools_cli.sweeps.sweep import al_run

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
    knobs = _knobs(_names(learner) or ["linear"])
    wanted = RoundRequest(labels, next_batch, predictions, tuple(_names(classes) or ()), export or [], image_url)
    files = brought(next_batch, exclude=exclude)
    if labels is not None:
        if name != "main" or scheduler:
            raise UserError("--name and --scheduler are of sweeps, and --labels begins a round.", "Leave them out.")
        context = common.start("al", flags, knobs, classes=classes, of_labels=True)
        return run_round(common, context, labels, wanted, files)
    wanted.refuse_without_labels()
    context = common.start("al", flags, knobs, classes=classes)
    if scheduler and context.settings.al.backend == "processes":
        raise UserError("--scheduler is the address of a cluster, and none is asked for.", "Add --backend dask or ray.")
    done, fresh = al_run(context, name, scheduler, files)
    _tell(common, rounds_of(done))
    common.step_result(done, fresh, "rounds")


def _knobs(learners: list[str]) -> Collection[str]:
    """The knobs of the only learner on the line; of several, ``--set al.params.<learner>.<knob>=…`` says which."""
    from initpools_cli.training.learners.registry import learners as registry

    return {*registry.get(learners[0]).knobs, "preset"} if len(learners) == 1 else ()


def _names(text: str | None) -> list[str] | None:
    return None if text is None else names_of(text)


def _tell(common: Common, rounds: DataFrame) -> None:
    """Accuracy after the first pool and after the last round, and the verdicts on both, on standard error."""
    from initpools_cli.cli.tables import show_grid
    from initpools_cli.stats.learning_curves import CURVE, summarize
    from initpools_cli.stats.verdicts import notes, verdicts

    if common.quiet:
        return
    judged, curves = verdicts(rounds), summarize(rounds)
    if not len(curves):
        return common.report.warn("every cell of the sweep failed: there is nothing to compare.")
    queried = curves[curves["round"] > 0] if (curves["round"] > 0).any() else curves
    last = queried[queried["round"] == queried["round"].max()]
    first = curves[curves["round"] == 0].drop_duplicates(["init", "learner", "encoder"])
    begun = first.set_index(["init", "learner", "encoder"])["mean"]
    said = {tuple(row[key] for key in (*CURVE, "measure")): row["verdict"] for row in judged.to_dict("records")}
    pool = f"first {first['labeled'].max()}" if len(first) else "first pool"
    tables: dict[tuple[str, str], list[list[str]]] = {}
    for row in last.to_dict("records"):
        init, query, learner, encoder = (str(row[column]) for column in CURVE)
        start = begun.get((init, learner, encoder))
        cells = [
            "—" if start is None else f"{float(start):.1%}",
            _short(said.get((init, "", learner, encoder, "first pool"))),
            f"{row['mean']:.1%}" + ("" if row["low"] != row["low"] else f" ± {100 * (row['high'] - row['mean']):.1f}"),
            _short(said.get((init, query, learner, encoder, "area"))),
        ]
        tables.setdefault((learner, encoder), []).append([init, query, *cells])
    columns = ["init", "query", pool, "vs random", f"at {last['labeled'].max()} ± 95 %", "area vs random"]
    for (learner, encoder), lines in tables.items():
        # A table for each, since beside these names the columns would not fit a terminal of 80 characters.
        if len(tables) > 1:
            common.report.say(f"{learner} on {encoder}:" if encoder else f"{learner}:")
        show_grid(common.report, columns, lines)
    for note in notes(judged):
        common.report.say(note)


def _short(verdict: str | None) -> str:
    """A verdict in the room of a column; `initpools compare` has the sentence."""
    if verdict is None:
        return ""
    if verdict.startswith("cannot"):
        return "few seeds"
    said = verdict.partition(":")[0]
    return {"not distinguishable": "unclear"}.get(said, said)
