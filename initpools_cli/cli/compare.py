"""`initpools compare`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from initpools_cli.cli.options import Common
from initpools_cli.stats.metric_names import PRIMARY

if TYPE_CHECKING:
    from initpools_cli.core.rundir import FinishedStep, Run
    from initpools_cli.sweeps.verdicts import SweepVerdicts

EXAMPLE = "Example: initpools compare typiclust-b20-s0 random-b20-s0"

#: Columns of a verdict that are printed; `--json` has the others.
COLUMNS = (
    "sweep", "init", "query", "learner", "encoder", "measure", "labeled", "seeds", "difference", "low", "high",
    "p_holm", "effect", "verdict", "bootstrap_low", "bootstrap_high", "test_low", "test_high",
)  # fmt: skip
#: Columns that name a comparison.
NAMES = ("sweep", "init", "query", "learner", "encoder")


def command(
    common: Common,
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME…",
            help="Sweeps (main or RUN/al/main), or pools and rankings: of the run, or .npy and .csv files of indices.",
        ),
    ],
    accuracy: Annotated[
        str,
        typer.Option(
            "--accuracy",
            metavar="SWEEP",
            help="Correlate the rankings with the accuracies that the random pools of a sweep reached.",
        ),
    ] = "",
    every: Annotated[
        bool,
        typer.Option(
            "--all", help="With --accuracy: use all first pools and queries of the sweep, not only the random ones."
        ),
    ] = False,
    against: Annotated[
        str, typer.Option("--against", metavar="NAME", help="For sweeps: the first pool to compare with.")
    ] = "random",
    metric: Annotated[
        str,
        typer.Option(
            "--metric",
            metavar="NAME",
            help="For sweeps: accuracy, balanced_accuracy or auc; with several labels per image auc (the primary one), "
            "mean_average_precision, micro_f1 or macro_f1.",
        ),
    ] = PRIMARY,
    measure: Annotated[
        str,
        typer.Option("--measure", metavar="A,B", help="For sweeps: first pool, area, last round; default: all three."),
    ] = "",
) -> None:
    """Test whether first pools beat random ones, or compare pools and rankings with each other."""
    from initpools_cli.core.errors import UserError
    from initpools_cli.reporting.compare import compare, order_of, with_accuracy

    run = _run(common, [*names, *([accuracy] if accuracy else [])])
    sweeps = {} if accuracy else _sweeps(run, names)
    if not sweeps and (against, metric, measure) != ("random", PRIMARY, ""):
        raise UserError(
            f"--against, --metric and --measure need sweeps, and {names[0]} is not one.",
            "Leave out --against, --metric and --measure, or name sweeps.",
            names[0],
        )
    if every and not accuracy:
        raise UserError("--all requires --accuracy.", "Leave out --all, or add --accuracy SWEEP.", "--accuracy")
    if sweeps:
        return _show_verdicts(
            common, sweeps, against, metric, [each.strip() for each in measure.split(",") if each.strip()]
        )
    if accuracy:
        rows = with_accuracy(run, names, accuracy, every=every)
        if not rows:
            raise UserError(
                f"The pools of {accuracy} are fewer than 4 or do not vary: there is no correlation with accuracy.",
                "Run a sweep with more seeds, or add --all.",
                accuracy,
            )
        return _table(common, rows)
    if len(names) < 2:
        if not Path(names[0]).is_file():
            order_of(run, names[0])
        raise UserError(f"There is nothing to compare {names[0]} with.", "Name two or more.", names[0])
    return _table(common, compare(run, names))


def _run(common: Common, names: Sequence[str]) -> Run | None:
    """The run that has the names; None if all of them are paths."""
    from initpools_cli.sweeps.verdicts import sweep_of

    paths = all(name.endswith((".npy", ".csv")) or sweep_of(None, name) for name in names)
    return None if paths and common.run is None and common.dataset is None else common.locate()


def _sweeps(run: Run | None, names: Sequence[str]) -> dict[str, FinishedStep]:
    """The sweeps by name; empty if none of the names is a sweep."""
    from initpools_cli.core.errors import UserError
    from initpools_cli.reporting.compare import is_order
    from initpools_cli.sweeps.verdicts import sweep_of

    steps = {name: None if is_order(run, name) else sweep_of(run, name) for name in names}
    sweeps = {name: step for name, step in steps.items() if step is not None}
    if sweeps and len(sweeps) < len(steps):
        other = next(name for name, step in steps.items() if step is None)
        raise UserError(f"{next(iter(sweeps))} is a sweep, and {other} is not.", "Compare sweeps with sweeps.", other)
    if len({step.folder.resolve() for step in sweeps.values()}) < len(names) and sweeps:
        text = ", ".join(names)
        raise UserError(f"{text} name a sweep more than once.", "Name each sweep once.", text)
    return sweeps


def _show_verdicts(
    common: Common, sweeps: dict[str, FinishedStep], against: str, metric: str, measures: Sequence[str]
) -> None:
    """Print the verdicts on standard output, and the same in sentences on standard error."""
    from initpools_cli.sweeps.verdicts import compare_sweeps

    results = compare_sweeps(sweeps, against, metric, measures)
    _say(common, results, against)
    rows = results.verdicts.to_dict("records")
    lines = ["\t".join(COLUMNS), *("\t".join(_cell(row[key]) for key in COLUMNS) for row in rows)]
    if common.on_one_terminal and not common.as_json:
        # The lines have too many columns for a terminal.
        _show(common, rows)
        lines = []
    common.result(lines, results.payload())


def _show(common: Common, rows: Sequence[Mapping[Any, Any]]) -> None:
    """Show the verdicts as a table of a terminal; names that are the same in all rows are left out."""
    from initpools_cli.cli.tables import show_grid

    names = [key for key in NAMES if len({str(row[key]) for row in rows}) > 1]
    cells = [
        [
            *(_cell(row[key]) for key in names),
            str(row["measure"]),
            f"{row['difference']:+.3f}",
            "" if math.isnan(row["low"]) else f"{row['low']:+.3f} to {row['high']:+.3f}",
            "" if math.isnan(row["p_holm"]) else f"{row['p_holm']:.2g}",
            str(row["verdict"]),
        ]
        for row in rows
    ]
    show_grid(common.report, [*names, "measure", "difference", "95 % CI", "p", "verdict"], cells)
    common.report.say("Written to a file or a pipe, the table has more columns; so has --json.")


def _say(common: Common, results: SweepVerdicts, against: str) -> None:
    report, table = common.report, results.verdicts
    several = table["sweep"].nunique() > 1
    for note in results.notes:
        report.say(note)
    for row in results.payload()["verdicts"]:
        tell = report.say if row["verdict"] in ("better", "worse") else report.detail
        tell(f"{row['sweep']}: {row['sentence']}" if several else row["sentence"])
    count = table["verdict"].str.replace(r" \(.*|:.*", "", regex=True).value_counts(sort=False)
    report.say("verdicts: " + ", ".join(f"{number} {verdict}" for verdict, number in count.items()))
    for row in results.payload()["savings"]:
        report.say(f"{row['sweep']}: {_savings_sentence(row, against)}" if several else _savings_sentence(row, against))
    for test in results.across:
        report.say(test.sentence)


def _savings_sentence(row: dict[str, Any], against: str) -> str:
    from initpools_cli.figures.escape import percent
    from initpools_cli.stats.verdict_text import setting

    where = setting(**{key: str(row[key]) for key in ("query", "learner", "encoder")})
    goal = f"the {percent(row['target'])} that {against} reaches with {row['of']} labels ({where})"
    if math.isinf(row["labels"]):
        return f"{row['init']} does not reach {goal}"
    high = f"more than {row['of']}" if math.isinf(row["high"]) else f"{row['high']:.0f}"
    interval = "" if math.isnan(row["low"]) else f" (95 % CI {row['low']:.0f} to {high})"
    return f"{row['init']} needs {row['labels']:.0f} labels{interval} to reach {goal}"


def _table(common: Common, rows: list[dict[str, Any]]) -> None:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = ["\t".join(columns), *("\t".join(_cell(row.get(key)) for key in columns) for row in rows)]
    common.result(lines, rows)


def _cell(value: Any) -> str:
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    return "" if missing else f"{value:.4f}" if isinstance(value, float) else str(value)
