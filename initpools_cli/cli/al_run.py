"""`initpools al-run`."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from initpools_cli.cli import completion
from initpools_cli.cli.al_run_labels import RoundOptions, run_round
from initpools_cli.cli.file_options import Exclude, user_files
from initpools_cli.cli.options import Common, Download, Export, Groups, ImageUrl, names_of
from initpools_cli.strategies.defaults import MULTILABEL_QUERY, QUERY, REASON

if TYPE_CHECKING:
    from pandas import DataFrame

    from initpools_cli.stats.group_variance import RightByGroup
    from initpools_cli.stats.split_error import EvaluatedImages

STRATEGIES = completion.several_of(completion.strategy)

EXAMPLE = "Example: initpools al-run --init random,typiclust --query random,margin --budget 10 --rounds 5 --seeds 10"


def command(
    common: Common,
    init: Annotated[
        str | None,
        typer.Option(
            "--init",
            metavar="A,B",
            help="Strategies for the first pool, e.g. random,typiclust@kmeans30,./mine.py:spread.",
            autocompletion=STRATEGIES,
        ),
    ] = None,
    query: Annotated[
        str | None,
        typer.Option(
            "--query",
            metavar="X,Y",
            help=f"Strategies for the later rounds; default: random, with --labels {QUERY}.",
            autocompletion=STRATEGIES,
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option("--budget", "-n", metavar="N|1%", help="Labels per round, or a share of the train images."),
    ] = None,
    init_budget: Annotated[
        str | None,
        typer.Option(
            "--init-budget",
            metavar="N|1%",
            help="Labels in the first pool, or a share of the train images; default: the budget.",
        ),
    ] = None,
    rounds: Annotated[int | None, typer.Option("--rounds", metavar="N", help="Rounds after the first pool.")] = None,
    seeds: Annotated[
        int | None, typer.Option("--seeds", metavar="N", help="Number of repetitions, each with another seed.")
    ] = None,
    learner: Annotated[
        str | None,
        typer.Option(
            "--learner",
            metavar="L,…",
            help="Classifiers; `initpools list learners` lists all.",
            autocompletion=completion.several_of(completion.learners),
        ),
    ] = None,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Name of the sweep: its folder in al/.")] = "main",
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="A,B",
            help="Embeddings to use, e.g. simclr,pca; default: the newest, with --labels those of the round before.",
        ),
    ] = None,
    download: Download = None,
    strict: Annotated[
        bool | None, typer.Option("--strict", help="Stop with an error if a label is read before it was bought.")
    ] = None,
    backend: Annotated[
        str | None, typer.Option("--backend", metavar="processes|dask|ray", help="What runs the jobs.")
    ] = None,
    scheduler: Annotated[
        str, typer.Option("--scheduler", metavar="ADDRESS", help="Address of a Dask scheduler or a Ray cluster.")
    ] = "",
    *,
    round_options: RoundOptions,
    groups: Groups = None,
    classes: Annotated[
        str | None,
        typer.Option(
            "--classes",
            metavar="A,B",
            help="All classes; default: those of the data set, else any that occur.",
        ),
    ] = None,
    exclude: Exclude = None,
    export: Export = None,
    image_url: ImageUrl = "",
) -> None:
    """Compare strategies in simulated active learning; or, with --labels, train on labels and choose the next batch."""
    from initpools_cli.core.errors import UserError
    from initpools_cli.sweeps.long_tail import long_tail_notes
    from initpools_cli.sweeps.results import groups_of, images_of, rounds_of
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
        "al.annotators": round_options.annotators,
        "al.audit": round_options.audit,
        "al.stop_at": round_options.stop_at,
        "al.target": round_options.target if round_options.target is not None else round_options.stop_at or None,
        "embed.download": download,
        "dataset.groups": groups,
    }
    knobs = _knobs(_names(learner) or ["linear"])
    files = user_files(round_options.next_batch, exclude=exclude)
    if round_options.labels:
        if round_options.asks(export) and query is None and common.value_set("al.query") is None:
            default = _default_query(common)
            flags["al.query"] = [default]
            why = REASON if default == QUERY else "for several labels per image"
            common.report.say(f"query: {default}, the default ({why}); name another: --query margin")
        if name != "main" or scheduler:
            flag, value = ("--name", name) if name != "main" else ("--scheduler", scheduler)
            raise UserError(
                f"{flag} {value} has no effect in a round of labeling.", f"Leave out {flag} or --labels.", flag
            )
        context = common.start("al", flags, knobs, classes=classes, of_labels=True)
        return run_round(common, context, round_options, _names(classes) or [], files, export or [], image_url)
    round_options.refuse_without_labels(export, image_url)
    context = common.start("al", flags, knobs, classes=classes)
    if scheduler and context.settings.al.backend == "processes":
        raise UserError(f"--scheduler {scheduler} needs a cluster.", "Add --backend dask or --backend ray.", scheduler)
    step, fresh = al_run(context, name, scheduler, files)
    rows = rounds_of(step)
    _show_results(common, rows, groups_of(step, rows), images_of(step, rows))
    for note in long_tail_notes(step, rows):
        common.report.say(note)
    common.step_result(step, fresh, "rounds")


def _knobs(learners: list[str]) -> Collection[str]:
    """Return the knobs of a single learner; with several, use ``--set al.params.<learner>.<knob>=…``."""
    from initpools_cli.training.learners.registry import learners as registry

    return {*registry.get(learners[0]).knobs, "preset"} if len(learners) == 1 else ()


def _default_query(common: Common) -> str:
    """Return the default query for the labels of the run, of one class or of several per image."""
    from initpools_cli.core.errors import UserError
    from initpools_cli.core.run_location import locate
    from initpools_cli.core.rundir import Run

    multilabel = common.value_set("dataset.multilabel")
    with suppress(UserError):
        run = Run(locate(common.run, common.dataset))
        multilabel = run.facts()["dataset"].get("multilabel") if run.exists else multilabel
    return MULTILABEL_QUERY if multilabel is True else QUERY


def _names(text: str | None) -> list[str] | None:
    return None if text is None else names_of(text)


def _show_results(common: Common, rounds: DataFrame, groups: RightByGroup | None, images: EvaluatedImages) -> None:
    """Print accuracy and verdicts after the first pool and after the last round."""
    from initpools_cli.cli.tables import show_grid
    from initpools_cli.stats.learning_curves import CURVE, summarize
    from initpools_cli.stats.metric_names import METRICS, TITLES, metrics_of
    from initpools_cli.stats.verdict_text import notes
    from initpools_cli.stats.verdicts import verdicts

    if common.quiet:
        return
    table, curves = verdicts(rounds, groups=groups, images=images), summarize(rounds, groups=groups)
    if not len(curves):
        return common.report.warn("all trials of the sweep failed: there is nothing to compare.")
    later = curves[curves["round"] > 0] if (curves["round"] > 0).any() else curves
    last = later[later["round"] == later["round"].max()]
    first = curves[curves["round"] == 0].drop_duplicates(["init", "learner", "encoder"])
    starts = first.set_index(["init", "learner", "encoder"])["mean"]
    verdict_of = {tuple(row[key] for key in (*CURVE, "measure")): row["verdict"] for row in table.to_dict("records")}
    if (metric := metrics_of(rounds.columns)[0]) != METRICS[0]:
        common.report.say(f"metric: {TITLES.get(metric, metric.replace('_', ' '))}, the mean over the classes")
    pool = f"first {first['labeled'].max()}" if len(first) else "first pool"
    tables: dict[tuple[str, str], list[list[str]]] = {}
    for row in last.to_dict("records"):
        init, query, learner, encoder = (str(row[column]) for column in CURVE)
        start = starts.get((init, learner, encoder))
        cells = [
            "—" if start is None else f"{float(start):.1%}",
            _short(verdict_of.get((init, "", learner, encoder, "first pool"))),
            f"{row['mean']:.1%}" + ("" if row["low"] != row["low"] else f" ± {100 * (row['high'] - row['mean']):.1f}"),
            _short(verdict_of.get((init, query, learner, encoder, "area"))),
        ]
        tables.setdefault((learner, encoder), []).append([init, query, *cells])
    columns = ["init", "query", pool, "vs random", f"at {last['labeled'].max()} ± 95 %", "area vs random"]
    for (learner, encoder), lines in tables.items():
        # One table each: with their names in columns, it would be wider than 80 characters.
        if len(tables) > 1:
            common.report.say(f"{learner} on {encoder}:" if encoder else f"{learner}:")
        show_grid(common.report, columns, lines)
    for note in notes(table):
        common.report.say(note)


def _short(verdict: str | None) -> str:
    """Shorten a verdict to a table cell; `initpools compare` prints the sentence."""
    if verdict is None:
        return ""
    if verdict.startswith("cannot"):
        return "few seeds"
    short = verdict.partition(":")[0]
    return {"not distinguishable": "unclear"}.get(short, short)
