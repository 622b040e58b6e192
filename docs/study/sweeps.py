"""The finished sweeps of several runs, with their verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from initpools_cli.bench.jobs import jobs_of
from initpools_cli.bench.suite import load_suite
from initpools_cli.core.errors import UserError
from initpools_cli.core.rundir import FinishedStep, Run
from initpools_cli.sweeps.results import rounds_of
from initpools_cli.sweeps.verdicts import SweepVerdicts, compare_sweeps

#: What first pools are compared with.
AGAINST = "random"


@dataclass(frozen=True)
class Sweep:
    """A finished sweep with one learner on one encoder.

    Attributes
    ----------
    data : str
        The run's name, which stands for the data set.
    name : str
    step : FinishedStep
    rounds : DataFrame
        Rows of ``rounds.csv``.
    """

    data: str
    name: str
    step: FinishedStep
    rounds: pd.DataFrame

    @property
    def table(self) -> dict[str, Any]:
        """Its resolved configuration."""
        return self.step.facts["table"]

    @property
    def learner(self) -> str:
        """Its learner."""
        return self.table["learner"][0]

    @property
    def encoder(self) -> str:
        """Its encoder."""
        return self.table["encoders"][0]

    @property
    def size(self) -> int:
        """Labels in its first pools."""
        return int(self.table["init_budget"])

    @property
    def last(self) -> int:
        """Labels at its end."""
        return int(self.rounds["labeled"].max())


@dataclass(frozen=True)
class Study:
    """All sweeps of the page, with their verdicts.

    Attributes
    ----------
    runs : list of Run
        The existing runs, one per data set.
    sweeps : list of Sweep
        By size, and within that in the order of the runs.
    missing : list of str
        ``run/al/name`` of unfinished sweeps.
    verdicts_by_name : dict of str to SweepVerdicts
        By name of the sweep, over the data sets; the column `sweep` has the data set.
    """

    runs: list[Run]
    sweeps: list[Sweep]
    missing: list[str]
    verdicts_by_name: dict[str, SweepVerdicts]

    def setting(self, sweep: Sweep) -> str:
        """Return the learner of a sweep, and the encoder if the study has several."""
        several = len({each.encoder for each in self.sweeps}) > 1
        return f"{sweep.learner} on {sweep.encoder}" if several else sweep.learner

    @property
    def settings(self) -> list[str]:
        """The settings, sorted by number of results."""
        rows: Counter[str] = Counter()
        for sweep in self.sweeps:
            rows[self.setting(sweep)] += len(sweep.rounds)
        return [setting for setting, _ in rows.most_common()]

    def of(self, setting: str, data: str = "") -> list[Sweep]:
        """Return the sweeps of a setting, optionally on one data set."""
        return [sweep for sweep in self.sweeps if self.setting(sweep) == setting and data in ("", sweep.data)]

    def rows(self, which: str, setting: str, data: str = "") -> pd.DataFrame:
        """Join one table of `SweepVerdicts` over all sweeps of a setting, optionally on one data set.

        The column sweep is replaced by data, name, size (labels in the first pool) and last (labels at the end).
        """
        tables = []
        for sweep in self.of(setting, data):
            rows = getattr(self.verdicts_by_name[sweep.name], which)
            rows = rows[rows["sweep"] == sweep.data].drop(columns="sweep")
            tables.append(rows.assign(data=sweep.data, name=sweep.name, size=sweep.size, last=sweep.last))
        return pd.concat(tables, ignore_index=True)

    def verdicts(self, setting: str, data: str = "") -> pd.DataFrame:
        """Return the verdicts; see `rows`."""
        return self.rows("verdicts", setting, data)


def of_suite(name: str, folder: Path) -> tuple[list[Path], list[str]]:
    """Return the run directories of a suite and the names of its sweeps, without those with knobs of a strategy."""
    suite = load_suite(name).suite
    jobs = [job for job in jobs_of(suite) if not any(key.startswith("al.params.") for key in job.settings)]
    return [folder / data.name for data in suite.data], list(dict.fromkeys(job.name for job in jobs))


def read_study(folders: Sequence[Path], names: Sequence[str] = ()) -> Study:
    """Read the finished sweeps and compute their verdicts.

    Parameters
    ----------
    folders : sequence of Path
        Run directories, one per data set; a missing one has no finished sweeps.
    names : sequence of str
        The sweeps of the study; default: all sweeps of any of the runs.

    Raises
    ------
    UserError
        No sweep is finished, two folders have the same name, or a sweep is damaged, stale, or has several learners or
        encoders.
    """
    runs = [Run(folder) for folder in folders]
    if len({run.path.name for run in runs}) < len(runs):
        names_of_runs = ", ".join(run.path.name for run in runs)
        raise UserError(
            f"Two of the runs have the same name: {names_of_runs}.", "Pass one run per data set.", names_of_runs
        )
    present = [step.id.partition("/")[2] for run in runs for step in run.folders("al")]
    sweeps, missing = [], []
    for name in names or list(dict.fromkeys(present)):
        for run in runs:
            step = run.find_step(f"al/{name}")
            if step is None:
                missing.append(f"{run.path.name}/al/{name}")
            else:
                sweeps.append(_sweep(run, name, step))
    if not sweeps:
        paths = ", ".join(map(str, folders))
        raise UserError(
            f"None of the runs has a finished sweep: {paths}.", "Make the sweeps with `make laptop-study`.", paths
        )
    sweeps.sort(key=lambda sweep: sweep.size)
    verdicts = {
        name: compare_sweeps({sweep.data: sweep.step for sweep in sweeps if sweep.name == name}, AGAINST)
        for name in dict.fromkeys(sweep.name for sweep in sweeps)
    }
    return Study([run for run in runs if run.exists], sweeps, missing, verdicts)


def _sweep(run: Run, name: str, step: FinishedStep) -> Sweep:
    table = step.facts["table"]
    for what, several in (("learners", table["learner"]), ("encoders", table["encoders"])):
        if len(several) > 1:
            raise UserError(
                f"{step.folder} has {len(several)} {what}; the page needs sweeps with one learner and one encoder.",
                "Pass the names of such sweeps with --sweeps.",
                step.folder,
            )
    return Sweep(run.path.name, name, step, rounds_of(step))
