"""`initpools bench`, and its subcommands."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from initpools_cli.cli import completion
from initpools_cli.cli.options import Common

if TYPE_CHECKING:
    from pandas import DataFrame

EXAMPLE = "Example: initpools bench --suite quick --add ./mine.py:spread"
VERIFY_EXAMPLE = "Example: initpools bench verify --suite quick --cells 20"
REPORT_EXAMPLE = "Example: initpools bench report --suite quick -o leaderboard.html"
TABLE_EXAMPLE = "Example: initpools bench table --suite grid"
OUT = Path("runs/bench")

SuiteName = Annotated[
    str,
    typer.Option(
        "--suite",
        metavar="NAME|FILE.toml",
        help="Suite: quick, laptop, grid, or your own file.",
        autocompletion=completion.suites,
    ),
]


AddedStrategies = Annotated[
    list[str] | None,
    typer.Option(
        "--add",
        metavar="./mine.py:mine",
        help="Also compare your own strategy, or another of `initpools list strategies`; repeatable.",
        autocompletion=completion.strategy,
    ),
]
Folder = Annotated[
    Path, typer.Option("--dir", metavar="DIR", help="Folder of the results, as in -o of `initpools bench`.")
]


def command(
    common: Common,
    context: typer.Context,
    suite: SuiteName = "quick",
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="DIR", help="Folder with the data sets that the suite names by file."),
    ] = None,
    add: AddedStrategies = None,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Folder of the results: a run for each data set, and the table."
        ),
    ] = OUT,
) -> str:
    """Compare strategies on the data sets of a suite in one table; continues where it was interrupted."""
    if context.invoked_subcommand is not None:
        return ""
    from initpools_cli.bench.jobs import refuse_added
    from initpools_cli.bench.prepare import SuiteContext
    from initpools_cli.bench.run import run_suite
    from initpools_cli.bench.suite import load_suite
    from initpools_cli.bench.table import table_of

    named_suite = load_suite(suite)
    names = add or []
    refuse_added(named_suite.suite, names)
    place = SuiteContext(output, data, _machine(common), common.report)
    return _write(common, suite, output, table_of(named_suite, run_suite(named_suite, place, names), names))


def table(common: Common, suite: SuiteName = "quick", folder: Folder = OUT, add: AddedStrategies = None) -> str:
    """Write the table of the sweeps that are finished, without running any; the others are listed as not run."""
    from initpools_cli.bench.jobs import refuse_added
    from initpools_cli.bench.prepare import SuiteContext
    from initpools_cli.bench.run import find_results
    from initpools_cli.bench.suite import load_suite
    from initpools_cli.bench.table import table_of
    from initpools_cli.core.errors import UserError

    named_suite = load_suite(suite)
    names = add or []
    refuse_added(named_suite.suite, names)
    results = find_results(named_suite, SuiteContext(folder, None, {}, common.report), names)
    if not results.done:
        raise UserError(
            f"{folder} has no finished sweep of the suite {named_suite.name}.",
            f"Run `{shlex.join(['initpools', 'bench', '--suite', suite, '-o', str(folder)])}`.",
            folder,
        )
    return _write(common, suite, folder, table_of(named_suite, results, names))


def _write(common: Common, suite: str, folder: Path, table: DataFrame) -> str:
    """Write the table of a suite, report missing cells and added strategies, and return the next command."""
    from initpools_cli.bench.suite import suite_name
    from initpools_cli.bench.table import table_path, write_table

    path = table_path(folder, suite_name(suite))
    write_table(path, table)
    _report_missing(common, table)
    _report_added(common, table)
    common.report.say(f"wrote {path}: {(table['status'] == 'ok').sum():,} rows")
    common.result([path], {"table": str(path)})
    return shlex.join(["initpools", "bench", "report", "--suite", suite, "--dir", str(folder)])


def report(
    common: Common,
    suite: SuiteName = "quick",
    folder: Folder = OUT,
    metric: Annotated[
        str, typer.Option("--metric", metavar="NAME", help="A metric of the table: accuracy, balanced_accuracy, auc …")
    ] = "accuracy",
    theme: Annotated[
        str, typer.Option("--theme", metavar="auto|light|dark", help="Initial colors of the page.")
    ] = "auto",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE.html", help="The page; default: SUITE-leaderboard.html beside the table."
        ),
    ] = None,
) -> str:
    """Write the leaderboard of a suite's table as an HTML page, which works offline."""
    from initpools_cli.bench.report import leaderboard
    from initpools_cli.bench.suite import suite_name
    from initpools_cli.bench.table import METRIC_COLUMNS, read_table, table_path
    from initpools_cli.core.errors import UserError
    from initpools_cli.core.files import require_ending, sha256_of, write_text
    from initpools_cli.core.version import version
    from initpools_cli.figures.page import THEMES, page_html

    require_ending(output, ".html")
    for flag, value, valid in (("--metric", metric, METRIC_COLUMNS), ("--theme", theme, THEMES)):
        if value not in valid:
            raise UserError(f"{flag} {value} is not valid.", f"Use one of {', '.join(valid)}.", value)
    name = suite_name(suite)
    path = table_path(folder, name)
    table = read_table(path, suite)
    if not (table["status"].eq("ok") & table[metric].notna()).any():
        raise UserError(f"{path} has no value of {metric}.", "Use another metric, such as --metric auc.", metric)
    about = {"table": str(path), "SHA-256 of the table": sha256_of(path), "initpools": version()}
    page = output or path.with_name(f"{name}-leaderboard.html")
    # The theme is one of THEMES, as checked above.
    text = page_html(leaderboard(table, metric), f"Leaderboard: {name}", about, theme)  # type: ignore[arg-type]
    write_text(page, text)
    common.report.say(f"wrote {page}")
    common.result([page], {"page": str(page)})
    return shlex.join(["initpools", "bench", "verify", "--suite", suite, "--dir", str(folder)])


def verify(
    common: Common,
    suite: SuiteName = "quick",
    folder: Folder = OUT,
    cells: Annotated[int, typer.Option("--cells", metavar="N", min=1, help="Number of cells to run again.")] = 20,
    sample_seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Seed of the sample.")] = 0,
    add: AddedStrategies = None,
) -> str:
    """Run a random sample of cells of a suite's table again; exits with 2 if a result differs."""
    from initpools_cli.bench.prepare import SuiteContext
    from initpools_cli.bench.suite import load_suite
    from initpools_cli.bench.table import read_table, table_path
    from initpools_cli.bench.verify import added_strategies, replay, sample
    from initpools_cli.steps.compare_results import TOLERANCE

    named_suite = load_suite(suite)
    table = read_table(table_path(folder, named_suite.name), suite)
    missing = added_strategies(table, add or [])
    if missing:
        common.report.say(f"left out: {', '.join(missing)}; name the file of an added strategy with --add to replay it")
    rows = sample(table[~table["strategy"].isin(missing)], cells, sample_seed)
    place = SuiteContext(folder, None, _machine(common), common.report)
    problems, exact, count = [], True, 0
    sweeps = rows.groupby(["data", "sweep"], sort=False).ngroups
    with common.report.progress("verify", sweeps, "sweeps") as bar:
        for each in replay(named_suite, place, rows, add or []):
            problems += each.problems
            exact &= each.exact
            count += each.cells
            bar.advance(1, each.sweep)
    common.result(problems, {"cells": count, "exact": exact, "problems": problems})
    how = (
        "byte by byte"
        if exact
        else (
            f"with a tolerance of {TOLERANCE:g}, because some were computed on another processor or with other versions"
        )
    )
    common.report.say(f"replayed {count} cells of {sweeps} sweeps, compared {how}: {len(problems) or 'no'} differences")
    if problems:
        raise typer.Exit(2)
    return shlex.join(["initpools", "bench", "report", "--suite", suite, "--dir", str(folder)])


def _machine(common: Common) -> dict[str, Any]:
    """Return the options of the machine as settings of [run]."""
    machine = {"run.device": common.device, "run.threads": common.threads}
    return {key: value for key, value in machine.items() if value is not None}


def _report_added(common: Common, table: DataFrame) -> None:
    """Print for every added strategy in how many comparisons it was better than random."""
    from initpools_cli.stats.benchmark import comparisons, sentence, values

    if not table["added"].any():
        return
    cells = values(table)
    rows = comparisons(cells)
    for name in dict.fromkeys(table.loc[table["added"], "strategy"]):
        common.report.say(f"your strategy {sentence(rows, name)}")


def _report_missing(common: Common, table: DataFrame) -> None:
    """Count the cells that were not run or failed, by reason."""
    failures = table[table["status"] != "ok"]
    for (status, error), cells in failures.groupby(["status", "error"], sort=False):
        where = ", ".join(dict.fromkeys(f"{row.strategy} on {row.data}" for row in cells.itertuples()))
        text = where if len(where) <= 200 else f"{where[:200]}…"
        common.report.say(f"{status}: {len(cells):,} cells ({text}): {error}")
