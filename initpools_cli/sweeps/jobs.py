"""The jobs of a sweep: each whole or not at all, and a failed one taken apart."""

from __future__ import annotations

import json
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
    from initpools_cli.training.experiment import BlockJob, ExperimentData, ExperimentSettings, FirstPoolJob

#: In the work folder of a sweep: how many blocks there are.
PLAN = "plan.toml"


@dataclass
class JobResult:
    """What a job came to.

    Attributes
    ----------
    rows : list of dict
        Of rounds.csv; a cell that failed ends with a row that says so.
    picks : list of (k,) int64
        What each cell bought, in order of purchase.
    recalls : list of (c,) float64
        Of each row with status "ok".
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    picks: list[np.ndarray] = field(default_factory=list)
    recalls: list[np.ndarray] = field(default_factory=list)

    @property
    def failures(self) -> list[dict[str, Any]]:
        """The rows of the cells that failed."""
        return [row for row in self.rows if row["status"] != "ok"]

    def save(self, file: Path) -> None:
        """One file, whole or not at all."""
        recalls = np.array(self.recalls) if self.recalls else np.empty((0, 0))
        picks = {f"picks-{number:02d}": picks for number, picks in enumerate(self.picks)}
        with atomic_file(file) as stream:
            np.savez(stream, allow_pickle=False, rows=np.array(json.dumps(self.rows)), recalls=recalls, **picks)

    @classmethod
    def load(cls, file: Path) -> JobResult:
        """What `save` wrote; a zip file has a checksum of each of its parts.

        Raises
        ------
        ValueError
            It is damaged.
        """
        try:
            with np.load(file, allow_pickle=False) as stored:
                picks = [stored[name] for name in sorted(stored.files) if name.startswith("picks-")]
                return cls(json.loads(str(stored["rows"])), picks, list(stored["recalls"]))
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, KeyError, NotImplementedError) as error:
            raise ValueError(str(error)) from None


def draw(job: FirstPoolJob, experiment: ExperimentData, settings: ExperimentSettings, device: str) -> JobResult:
    """The first pools of a job, on one thread; one that fails is empty, with a row that says why.

    Raises
    ------
    UserError
        Every one of them did: then it is not the seed that is to blame.
    """
    from initpools_cli.training.active_learning import first_pool
    from initpools_cli.training.device import one_thread

    found, errors = JobResult(), []
    with one_thread():
        for index in job.seeds:
            try:
                pool = first_pool(job.init, index, experiment, settings)
            except Exception as error:
                errors.append(error)
                pool = np.empty(0, dtype=np.int64)
                found.rows.append(_failed(job.init, "", "", job.encoder, index, pool, settings, _words(error)))
            found.picks.append(pool)
    _refuse_shared(errors, job.seeds)
    return found


def solve(
    job: BlockJob,
    experiment: ExperimentData,
    settings: ExperimentSettings,
    device: str,
    pools: Sequence[np.ndarray],
    lost: Mapping[int, str],
) -> JobResult:
    """A block, on one thread; where it fails, cell by cell, so that one bad cell costs no other.

    Parameters
    ----------
    pools : sequence of (init_budget,) int64
        The first pool of each seed.
    lost : mapping of int to str
        The seeds that have none, and why.

    Raises
    ------
    UserError
        Every cell did: then it is not the seed that is to blame.
    """
    from initpools_cli.training.device import one_thread

    begun = {index: pool for index, pool in zip(job.seeds, pools, strict=True) if index not in lost}
    with one_thread():
        try:
            found = _together(job, begun, experiment, settings, device)
        except Exception:
            found = _apart(job, begun, experiment, settings, device)
    for index, why in lost.items():
        nothing = np.empty(0, dtype=np.int64)
        row = _failed(job.init, job.query, job.learner, job.encoder, index, nothing, settings, why)
        found[index] = JobResult([row], [nothing])
    cells = [found[index] for index in job.seeds]
    return JobResult(*(list(chain.from_iterable(parts)) for parts in zip(*map(_parts, cells), strict=True)))


def _parts(cell: JobResult) -> tuple[list[dict[str, Any]], list[np.ndarray], list[np.ndarray]]:
    return cell.rows, cell.picks, cell.recalls


def _together(
    job: BlockJob,
    pools: Mapping[int, np.ndarray],
    experiment: ExperimentData,
    settings: ExperimentSettings,
    device: str,
) -> dict[int, JobResult]:
    """What every cell came to, all of them in step."""
    import torch

    from initpools_cli.training.active_learning import run_block, start_cells

    found = {index: JobResult() for index in pools}
    cells = start_cells(pools, experiment, settings)
    for measured in run_block(job, cells, experiment, settings, torch.device(device)):
        for each in measured:
            found[each.row["seed"]].rows.append(each.row)
            found[each.row["seed"]].recalls.append(each.recalls)
    for cell in cells:
        found[cell.index].picks.append(cell.labeled)
    return found


def _apart(
    job: BlockJob,
    pools: Mapping[int, np.ndarray],
    experiment: ExperimentData,
    settings: ExperimentSettings,
    device: str,
) -> dict[int, JobResult]:
    """What every cell came to, one after the other; one that failed ends with a row that says why."""
    import torch

    from initpools_cli.training.active_learning import run_block, start_cells

    found: dict[int, JobResult] = {}
    errors: list[Exception] = []
    for index, pool in pools.items():
        (cell,), own = start_cells({index: pool}, experiment, settings), JobResult()
        try:
            for (measured,) in filter(None, run_block(job, [cell], experiment, settings, torch.device(device))):
                own.rows.append(measured.row)
                own.recalls.append(measured.recalls)
        except Exception as error:
            errors.append(error)
            names = (job.init, job.query, job.learner, job.encoder)
            own.rows.append(_failed(*names, index, cell.labeled, settings, _words(error)))
        own.picks.append(cell.labeled)
        found[index] = own
    _refuse_shared(errors, job.seeds)
    return found


def _refuse_shared(errors: Sequence[Exception], seeds: Sequence[int]) -> None:
    """Raise what a user can mend and every seed ran into: the others would only run into it as well."""
    mendable = [error for error in errors if isinstance(error, UserError)]
    if len(mendable) == len(seeds):
        raise mendable[0]


def _words(error: Exception) -> str:
    return error.fact if isinstance(error, UserError) else f"{type(error).__name__}: {error}"


def _failed(
    init: str,
    query: str,
    learner: str,
    encoder: str,
    index: int,
    labeled: np.ndarray,
    settings: ExperimentSettings,
    error: str,
) -> dict[str, Any]:
    """The row of a cell that did not come to its end: the round it failed in and the error, and no metrics."""
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
    """Run the jobs that have no file yet, and give the results of all.

    Parameters
    ----------
    function : callable
        Called with a job and its arguments.
    folder : Path
        Where each job's result is written as soon as it is there.
    kind : str
        What its files are called.
    advance : callable
        Called with the number and the result of each job, and whether it was computed now or found in its file.
    """
    files = {number: folder / f"{kind}-{number:05d}.npz" for number, _, _ in jobs}
    found: dict[int, JobResult] = {}
    for number, file in files.items():
        if file.exists():
            try:
                found[number] = JobResult.load(file)
            except ValueError:
                Reporter().warn(f"{file} was changed after it was written: what it held is computed again.")
                continue
            advance(number, found[number], False)
    waiting = [(number, job, given) for number, job, given in jobs if number not in found]
    for number, solved in workers.map(function, waiting):
        solved.save(files[number])
        found[number] = solved
        advance(number, solved, True)
    return [found[number] for number, _, _ in jobs]
