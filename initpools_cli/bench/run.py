"""Run the sweeps of a suite that are missing, and write its table."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from initpools_cli.bench.forecast import Forecast
from initpools_cli.bench.jobs import Job, command_of, is_done, jobs_of
from initpools_cli.bench.prepare import Preparation, SuiteContext, begin, find_preparation, open_context, prepare
from initpools_cli.bench.suite import NamedSuite
from initpools_cli.core.cpu import thread_count
from initpools_cli.core.durations import duration
from initpools_cli.core.errors import UserError
from initpools_cli.core.interrupts import exit_with_parent
from initpools_cli.core.reporter import Reporter
from initpools_cli.core.rundir import FinishedStep, Run
from initpools_cli.steps.context import Context


@dataclass
class Progress:
    """Finished jobs of a suite, and those that were not run.

    Attributes
    ----------
    jobs : list of Job
    preparations : dict of str to Preparation
        By data set; those that can't be obtained are left out.
    done : dict of Job to FinishedStep
        Finished sweeps.
    not_run : dict of Job to str
        Why a job was not run.
    """

    jobs: list[Job]
    preparations: dict[str, Preparation] = field(default_factory=dict)
    done: dict[Job, FinishedStep] = field(default_factory=dict)
    not_run: dict[Job, str] = field(default_factory=dict)

    def flags(self, job: Job) -> dict[str, Any]:
        """Return the settings of a job."""
        return job.flags(self.preparations[job.data].sources)


def run_suite(suite: NamedSuite, place: SuiteContext, extra: Sequence[str] = ()) -> Progress:
    """Run everything of a suite that is missing: pretrains, embeddings and sweeps.

    Work that is finished is kept if the process is killed.

    Parameters
    ----------
    extra : sequence of str
        Strategies of the user, such as ``./mine.py:mine``.
    """
    progress = Progress(jobs_of(suite.suite, extra))
    contexts = _begin_all(suite, place, progress)
    entries = {entry.name: entry for entry in suite.suite.data}
    preparations = {name: find_preparation(suite, entries[name], place, context) for name, context in contexts.items()}
    forecast = Forecast(suite, place, {name: context.data for name, context in contexts.items()}, preparations)
    waiting = [job for job in progress.jobs if job not in progress.not_run]
    forecast.announce(waiting)
    for entry in suite.suite.data:
        if entry.name in contexts:
            progress.preparations[entry.name] = prepare(suite, entry, place, contexts.pop(entry.name))
            forecast.measure(entry.name, progress.preparations[entry.name].sources)
    for job in waiting:
        missing = progress.preparations[job.data].missing
        reason = next((missing[encoder] for encoder in job.encoders if encoder in missing), "")
        if reason:
            progress.not_run[job] = reason
    _run_jobs(suite, place, progress, forecast)
    return progress


def find_results(suite: NamedSuite, place: SuiteContext, extra: Sequence[str] = ()) -> Progress:
    """Find the sweeps of a suite that are finished; nothing is run.

    Parameters
    ----------
    extra : sequence of str
        Strategies of the user, such as ``./mine.py:mine``.
    """
    progress = Progress(jobs_of(suite.suite, extra))
    for entry in suite.suite.data:
        own = [job for job in progress.jobs if job.data == entry.name]
        if not place.run(entry.name).exists:
            progress.not_run |= dict.fromkeys(own, f"There is no run of {entry.name} yet.")
            continue
        preparation = find_preparation(suite, entry, place, begin(suite, entry, place))
        progress.preparations[entry.name] = preparation
        for job in own:
            missing = next((preparation.missing[name] for name in job.encoders if name in preparation.missing), "")
            step = None if missing else is_done(job, progress.flags(job), place.run(job.data))
            if step is None:
                progress.not_run[job] = missing or "It was not run yet."
            else:
                progress.done[job] = step
    return progress


def _begin_all(suite: NamedSuite, place: SuiteContext, progress: Progress) -> dict[str, Context]:
    contexts: dict[str, Context] = {}
    for entry in suite.suite.data:
        try:
            contexts[entry.name] = begin(suite, entry, place)
        except UserError as error:
            place.report.warn(f"{entry.name} is left out: {error.fact} {error.remedy}")
            progress.not_run |= {job: error.fact for job in progress.jobs if job.data == entry.name}
    return contexts


def _run_jobs(suite: NamedSuite, place: SuiteContext, progress: Progress, forecast: Forecast) -> None:
    """Run the jobs; two jobs of one data set never run at the same time, because both might make the same scores."""
    todo = []
    cells_done = 0
    for job in progress.jobs:
        if job in progress.not_run:
            continue
        if step := is_done(job, progress.flags(job), place.run(job.data)):
            progress.done[job] = step
            forecast.learn(job, step)
            cells_done += job.cells
        else:
            todo.append(job)
    if not todo:
        return
    workers = min(thread_count(int(place.machine.get("run.threads", 0))), len({job.data for job in todo}))
    total = cells_done + sum(job.cells for job in todo)
    with ExitStack() as stack:
        bar = stack.enter_context(place.report.progress("bench", total, "cells"))
        bar.skip(cells_done)
        start = time.monotonic()
        for job, step_id, reason in _results(suite, place, progress, forecast, todo, workers, stack):
            if reason:
                progress.not_run[job] = reason
                place.report.detail(f"not run: {job.data}/{job.name}: {reason}")
                bar.skip(job.cells)
                continue
            run = place.run(job.data)
            progress.done[job] = FinishedStep(run, run.path / step_id)
            forecast.learn(job, progress.done[job])
            bar.advance(job.cells, f"{job.data}/{job.name}")
    ran = sum(job in progress.done for job in todo)
    place.report.say(f"ran {ran} sweeps in {duration(time.monotonic() - start)}")


def _results(
    suite: NamedSuite,
    place: SuiteContext,
    progress: Progress,
    forecast: Forecast,
    todo: Sequence[Job],
    workers: int,
    stack: ExitStack,
) -> Iterator[tuple[Job, str, str]]:
    """Yield each job when it is finished, with its step, or the reason if it was not run."""
    call = partial(
        run_job, where=suite.file, machine=dict(place.machine) | {"run.threads": 1}, verbose=place.report.verbose
    )
    waiting = list(todo)
    if workers == 1:
        for job in waiting:
            reason = forecast.refusal(job)
            yield job, *(("", reason) if reason else call(job, place.run(job.data).path, progress.flags(job)))
        return
    pool = ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=exit_with_parent, initargs=(os.getpid(),)
    )
    # On an interruption, jobs that have not begun are dropped.
    stack.callback(pool.shutdown, wait=False, cancel_futures=True)
    running: dict[Future[tuple[str, str]], Job] = {}
    while waiting or running:
        busy = {job.data for job in running.values()}
        for job in list(waiting):
            if len(running) == workers:
                break
            if reason := forecast.refusal(job):
                waiting.remove(job)
                yield job, "", reason
            elif job.data not in busy:
                waiting.remove(job)
                busy.add(job.data)
                running[pool.submit(call, job, place.run(job.data).path, progress.flags(job))] = job
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            yield running.pop(future), *future.result()


def run_job(
    job: Job, run: Path, flags: Mapping[str, Any], where: str, machine: Mapping[str, Any], verbose: bool
) -> tuple[str, str]:
    """Run one sweep; return its step, such as "al/main", or "" and the error.

    Parameters
    ----------
    job : Job
    run : Path
        The run directory.
    flags : mapping
        From `Job.flags`.
    where : str
        The suite's file, for messages.
    machine : mapping
        Settings [run].
    verbose : bool
        Print the messages of the sweep.
    """
    from initpools_cli.sweeps.sweep import al_run

    command = command_of(job, dict(flags), run)
    context = open_context(Run(run), "al", {**machine, **flags}, where, Reporter(not verbose), command)
    try:
        _open_data(run).share(context)
        return al_run(context, job.name)[0].id, ""
    except UserError as error:
        return "", error.fact


@lru_cache(maxsize=4)
def _open_data(run: Path) -> Context:
    """Return a context whose data are open; jobs of one run in a process share them."""
    context = open_context(Run(run), "embed", {}, "", Reporter(True))
    context.data  # noqa: B018 -- reading it opens the data set
    return context
