"""Replay a sample of the cells of a table, and compare their results."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from initpools_cli.bench.jobs import Job, jobs_of
from initpools_cli.bench.prepare import SuiteContext, open_context
from initpools_cli.bench.suite import NamedSuite
from initpools_cli.bench.table import METRIC_COLUMNS
from initpools_cli.core.cpu import provenance
from initpools_cli.core.errors import UserError
from initpools_cli.core.reporter import Reporter
from initpools_cli.core.rundir import FinishedStep, Run
from initpools_cli.core.seeds import generator
from initpools_cli.steps.compare_results import TOLERANCE
from initpools_cli.steps.replay import link_run
from initpools_cli.steps.strategy_name import parse_strategy
from initpools_cli.sweeps.replay import replay as replay_cells

if TYPE_CHECKING:
    import pandas as pd

#: Columns that a replay computes again.
MEASURED = (*METRIC_COLUMNS, "nll", "ece", "absent_classes", "leaks", "labeled")
#: What a replay needs of a run.
LINKED = ("pretrain", "embed", "patches", "score", "dynamics")


@dataclass(frozen=True)
class ReplayResult:
    """Cells of one sweep that were replayed.

    Attributes
    ----------
    sweep : str
        The data set and the sweep.
    cells : int
        Number of cells of the sample.
    exact : bool
        Whether it was computed with the same processor and versions, so that equal bytes are expected.
    problems : list of str
        What differs.
    largest : float
        Largest difference of a metric.
    """

    sweep: str
    cells: int
    exact: bool
    problems: list[str]
    largest: float


def added_strategies(table: pd.DataFrame, extra: Sequence[str]) -> list[str]:
    """List the strategies that were added to a table, without those in `extra`, as typed."""
    names = {parse_strategy(name).name for name in extra}
    return [name for name in dict.fromkeys(table.loc[table["added"], "strategy"]) if name not in names]


def sample(table: pd.DataFrame, cells: int, seed: int) -> pd.DataFrame:
    """Draw cells of a table at random, with all their rounds.

    Parameters
    ----------
    cells : int
        How many; all if there are fewer.
    seed : int
    """
    results = table[table["status"] == "ok"]
    keys = ["data", "sweep", "encoder", "learner", "strategy", "query", "seed"]
    unique_cells = results[keys].drop_duplicates().reset_index(drop=True)
    order = generator(seed, "bench verify").permutation(len(unique_cells))[:cells]
    return results.merge(unique_cells.iloc[np.sort(order)], on=keys)


def replay(
    suite: NamedSuite, place: SuiteContext, rows: pd.DataFrame, extra: Sequence[str] = ()
) -> Iterator[ReplayResult]:
    """Run the cells of a sample again, in a folder that is removed afterwards, and yield the comparisons by sweep.

    Pretrains and embeddings are those of the runs; their checksums are verified.

    Parameters
    ----------
    rows : DataFrame
        From `sample`.
    extra : sequence of str
        The strategies that were added, as typed.
    """
    jobs = {(job.data, job.name): job for job in jobs_of(suite.suite, extra)}
    for (data, sweep), cells in rows.groupby(["data", "sweep"], sort=False):
        run = place.run(str(data))
        step = run.find_step(str(sweep))
        if step is None:
            path = run.path / str(sweep)
            raise UserError(
                f"There is no sweep {path}, which the table is about.", "Run `initpools bench` again.", path
            )
        name = str(sweep).partition("/")[2]
        job = jobs.get((str(data), name)) or jobs.get((str(data), name.rpartition("-")[0]))
        if job is None:
            raise UserError(
                f"The suite {suite.name} has no sweep '{name}' of {data}, which is in the table.",
                "Name the strategy that was added: --add ./mine.py:mine.",
                name,
            )
        with tempfile.TemporaryDirectory(prefix="initpools-") as folder:
            inputs = [each for kind in LINKED for each in run.folders(kind)]
            yield _replay_sweep(suite, place, job, step, link_run(run, Path(folder), inputs), cells)


def _replay_sweep(
    suite: NamedSuite, place: SuiteContext, job: Job, step: FinishedStep, run: Run, cells: pd.DataFrame
) -> ReplayResult:
    sources = dict(zip(job.encoders, step.table["encoders"], strict=True))
    context = open_context(
        run, "al", {**place.machine, **job.flags(sources), "run.threads": 1}, suite.file, Reporter(True)
    )
    keys = {
        (row["encoder_step"].partition("/")[2], row["strategy"], row["query"], row["learner"], row["seed"])
        for row in cells.to_dict("records")
    }
    rows = replay_cells(context, lambda *key: key in keys)
    return _compare(job, step, cells, {_key(row): row for row in rows if row["status"] == "ok"})


def _compare(
    job: Job, step: FinishedStep, cells: pd.DataFrame, again: dict[tuple[Any, ...], dict[str, Any]]
) -> ReplayResult:
    here = provenance()
    exact = all(step.facts.get(key) == value for key, value in here.items())
    problems, largest_gap = [], 0.0
    for row in cells.to_dict("records"):
        cell = {**row, "init": row["strategy"], "encoder": row["encoder_step"].partition("/")[2]}
        other = again.get(_key(cell))
        where = f"{job.data}/{job.name}, {row['strategy']}, seed {row['seed']}, round {row['round']}"
        if other is None:
            problems.append(f"{where}: the replay failed")
            continue
        for column in MEASURED:
            old, new = _number(row[column]), _number(other.get(column))
            if old == new or (math.isnan(old) and math.isnan(new)):
                continue
            gap = abs(old - new)
            largest_gap = max(largest_gap, gap) if column in METRIC_COLUMNS else largest_gap
            if exact or not gap <= TOLERANCE:
                problems.append(f"{where}: {column} is {old:.17g} in the table, and {new:.17g} when it is replayed")
    keys = ["encoder", "learner", "strategy", "query", "seed"]
    return ReplayResult(f"{job.data}/{job.name}", len(cells[keys].drop_duplicates()), exact, problems, largest_gap)


def _key(row: Mapping[Any, Any]) -> tuple[Any, ...]:
    return tuple(str(row[key]) for key in ("init", "query", "learner", "encoder", "seed", "round"))


def _number(value: Any) -> float:
    import pandas as pd

    return math.nan if value is None or pd.isna(value) else float(value)
