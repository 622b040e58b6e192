"""Jobs of a sweep: run, store and resume them; a failed block is run again cell by cell."""

from __future__ import annotations

import json
import math
import time
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import atomic_file
from initpools_cli.core.reporter import Reporter
from initpools_cli.sweeps.executors import Executor, Jobs

if TYPE_CHECKING:
    from initpools_cli.training.active_learning import RoundMetrics
    from initpools_cli.training.experiment import BlockJob, Experiment, ExperimentSettings, FirstPoolJob

#: File in the work folder of a sweep with the number of blocks.
PLAN = "plan.toml"


@dataclass
class JobResult:
    """Result of a job.

    Attributes
    ----------
    rows : list of dict
        Rows of rounds.csv; a failed cell ends with a row with status "failed".
    picks : list of (k,) int64
        Labeled images of each cell, in order of purchase.
    recalls : list of (c,) or (3, c) float64
        Recall of each class, for each row with status "ok"; see `LabelAccess.measure`.
    right : list of (k,) int32
        Correct predictions of each group and class of test images, for each such row.
    correct : list of (b,) uint8
        Whether each prediction of the test images is right, as bits, for each such row; of blocks of older versions b
        is 0.
    seconds : float
        Runtime of the job; NaN in files of older versions.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    picks: list[np.ndarray] = field(default_factory=list)
    recalls: list[np.ndarray] = field(default_factory=list)
    right: list[np.ndarray] = field(default_factory=list)
    correct: list[np.ndarray] = field(default_factory=list)
    seconds: float = math.nan

    @property
    def failures(self) -> list[dict[str, Any]]:
        """Rows with a status other than "ok"."""
        return [row for row in self.rows if row["status"] != "ok"]

    def add(self, metrics: RoundMetrics) -> None:
        """Add the metrics of a round of a cell."""
        self.rows.append(metrics.row)
        self.recalls.append(metrics.recalls)
        self.right.append(metrics.right)
        self.correct.append(metrics.correct)

    def save(self, file: Path) -> None:
        """Write the result to a file, atomically."""
        recalls = np.array(self.recalls) if self.recalls else np.empty((0, 0))
        picks = {f"picks-{number:02d}": picks for number, picks in enumerate(self.picks)}
        right = np.array(self.right) if self.right else np.empty((0, 0), np.int32)
        correct = np.array(self.correct) if self.correct else np.empty((0, 0), np.uint8)
        with atomic_file(file) as stream:
            rows = np.array(json.dumps(self.rows))
            np.savez(
                stream,
                allow_pickle=False,
                rows=rows,
                recalls=recalls,
                right=right,
                correct=correct,
                seconds=self.seconds,
                **picks,
            )

    @classmethod
    def load(cls, file: Path) -> JobResult:
        """Read a file of `save`; the zip format has checksums of its members.

        Raises
        ------
        ValueError
            If the file is damaged.
        """
        try:
            with np.load(file, allow_pickle=False) as archive:
                picks = [archive[name] for name in sorted(archive.files) if name.startswith("picks-")]
                recalls = list(archive["recalls"])
                # Files of older versions lack some.
                right, correct = (
                    list(archive[name]) if name in archive.files else [np.empty(0, kind)] * len(recalls)
                    for name, kind in (("right", np.int32), ("correct", np.uint8))
                )
                seconds = float(archive["seconds"]) if "seconds" in archive.files else math.nan
                return cls(json.loads(str(archive["rows"])), picks, recalls, right, correct, seconds)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, KeyError, NotImplementedError) as error:
            raise ValueError(str(error)) from None


def select_pools(job: FirstPoolJob, experiment: Experiment) -> JobResult:
    """Select the first pools of a job, on one thread; a failed pool is empty, with a row that has the error.

    Raises
    ------
    UserError
        If it was raised at every seed.
    """
    from initpools_cli.training.active_learning import first_pool
    from initpools_cli.training.device import one_thread

    result, errors = JobResult(), []
    start = time.perf_counter()
    with one_thread():
        for index in job.seeds:
            try:
                pool = first_pool(job.init, index, experiment)
            except Exception as error:
                errors.append(error)
                pool = np.empty(0, dtype=np.int64)
                names = (job.init, "", "", job.encoder)
                result.rows.append(_failed_row(names, index, pool, experiment.settings, _message(error)))
            result.picks.append(pool)
    _raise_common_error(errors, job.seeds)
    result.seconds = time.perf_counter() - start
    return result


def run_cells(
    job: BlockJob, experiment: Experiment, pools: Sequence[np.ndarray], pool_errors: Mapping[int, str]
) -> JobResult:
    """Run the cells of a block together, on one thread; if that fails, run them one by one.

    Parameters
    ----------
    job : BlockJob
    experiment : Experiment
    pools : sequence of (init_budget,) int64
        The first pool of each seed.
    pool_errors : mapping of int to str
        Seeds without a first pool, with the error.

    Raises
    ------
    UserError
        If it was raised by every cell.
    """
    from initpools_cli.training.device import one_thread

    start = time.perf_counter()
    ready = {index: pool for index, pool in zip(job.seeds, pools, strict=True) if index not in pool_errors}
    with one_thread():
        try:
            results = _run_together(job, ready, experiment)
        except Exception:
            results = _run_one_by_one(job, ready, experiment)
    for index, error in pool_errors.items():
        empty = np.empty(0, dtype=np.int64)
        row = _failed_row(_names(job), index, empty, experiment.settings, error)
        results[index] = JobResult([row], [empty])
    cells = [results[index] for index in job.seeds]
    parts: list[list[Any]] = [list(chain.from_iterable(parts)) for parts in zip(*map(_parts, cells), strict=True)]
    rows, picks, recalls, right, correct = parts
    return JobResult(rows, picks, recalls, right, correct, time.perf_counter() - start)


def _parts(cell: JobResult) -> tuple[list[Any], ...]:
    return cell.rows, cell.picks, cell.recalls, cell.right, cell.correct


def _run_together(job: BlockJob, pools: Mapping[int, np.ndarray], experiment: Experiment) -> dict[int, JobResult]:
    """Run all cells round by round, and return their results by seed."""
    from initpools_cli.training.active_learning import run_block, start_cells

    results = {index: JobResult() for index in pools}
    cells = start_cells(pools, experiment)
    for metrics in run_block(job, cells, experiment):
        for each in metrics:
            results[each.row["seed"]].add(each)
    for cell in cells:
        results[cell.index].picks.append(cell.labeled)
    return results


def _run_one_by_one(job: BlockJob, pools: Mapping[int, np.ndarray], experiment: Experiment) -> dict[int, JobResult]:
    """Run cells one after the other, and return their results by seed; a failed cell ends with a row with the error."""
    from initpools_cli.training.active_learning import run_block, start_cells

    results: dict[int, JobResult] = {}
    errors: list[Exception] = []
    for index, pool in pools.items():
        (cell,), result = start_cells({index: pool}, experiment), JobResult()
        try:
            for (metrics,) in filter(None, run_block(job, [cell], experiment)):
                result.add(metrics)
        except Exception as error:
            errors.append(error)
            result.rows.append(_failed_row(_names(job), index, cell.labeled, experiment.settings, _message(error)))
        result.picks.append(cell.labeled)
        results[index] = result
    _raise_common_error(errors, job.seeds)
    return results


def _raise_common_error(errors: Sequence[Exception], seeds: Sequence[int]) -> None:
    """Raise the first error if every seed failed with a UserError, because other jobs would fail, too."""
    user_errors = [error for error in errors if isinstance(error, UserError)]
    if len(user_errors) == len(seeds):
        raise user_errors[0]


def _message(error: Exception) -> str:
    return error.fact if isinstance(error, UserError) else f"{type(error).__name__}: {error}"


def _names(job: BlockJob) -> tuple[str, str, str, str]:
    return job.init, job.query, job.learner, job.encoder


def _failed_row(
    names: tuple[str, str, str, str], index: int, labeled: np.ndarray, settings: ExperimentSettings, error: str
) -> dict[str, Any]:
    """Make the row of a failed cell: the round in which it failed and the error, without metrics."""
    init, query, learner, encoder = names
    return {
        "init": init,
        "query": query,
        "learner": learner,
        "encoder": encoder,
        "seed": index,
        "round": max(0, (len(labeled) - settings.init_budget) // settings.budget),
        "labeled": len(labeled),
        "validation": settings.validation,
        "status": "failed",
        "error": error,
    }


def run_jobs(
    function: Callable[..., JobResult],
    jobs: Jobs,
    folder: Path,
    kind: str,
    workers: Executor,
    advance: Callable[[int, JobResult, bool], None],
) -> list[JobResult]:
    """Run the jobs without a result file, and return the results of all.

    Parameters
    ----------
    function : callable
        Called with a job and its arguments.
    jobs : sequence of tuple
    folder : Path
        Folder of the results of the jobs.
    kind : str
        Prefix of the file names.
    workers : Executor
    advance : callable
        Called with the number and the result of each job, and whether it was run now or read from its file.
    """
    files = {number: folder / f"{kind}-{number:05d}.npz" for number, _, _ in jobs}
    results: dict[int, JobResult] = {}
    for number, file in files.items():
        if file.exists():
            try:
                results[number] = JobResult.load(file)
            except ValueError:
                Reporter().warn(f"{file} was changed after it was written; it is computed again.")
                continue
            advance(number, results[number], False)
    pending = [(number, job, arguments) for number, job, arguments in jobs if number not in results]
    for number, result in workers.map(function, pending):
        result.save(files[number])
        results[number] = result
        advance(number, result, True)
    return [results[number] for number, _, _ in jobs]
