"""Who does the jobs of a sweep: this process, several of them here, or a cluster."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from initpools_cli.core.errors import UserError
from initpools_cli.core.interrupts import exit_with_parent

#: Seconds of work left from which on other processes are started, which takes each of them a few.
WORTH = 15.0
#: Jobs of a worker in one wave, where results come wave by wave.
WAVE = 4
#: What joblib's engines raise where a worker has died.
KILLED = {"TerminatedWorkerError", "KilledWorker", "WorkerCrashedError"}
#: Of a job's number and what it was solved with, whatever the function returns.
Jobs = Sequence[tuple[int, Any, Mapping[str, Any]]]


@dataclass(frozen=True)
class Executor:
    """Whoever does the jobs.

    Attributes
    ----------
    backend : {"processes", "dask", "ray"}
    count : int
        Processes; with 1, or while little is left, the work is done in this one.
    scheduler : str
        The address of a Dask scheduler or Ray cluster, or "" for one on this machine.
    shared : sequence of object
        What all jobs read: sent to every worker of a cluster once.
    """

    backend: str
    count: int
    scheduler: str = ""
    shared: Sequence[object] = ()

    def map(self, function: Callable[..., Any], jobs: Jobs) -> Iterator[tuple[int, Any]]:
        """The results as they come, each with its job's number.

        Raises
        ------
        UserError
            A worker was killed, or a job raised it.
        """
        alone = 0
        if self.backend == "processes":
            begun = time.monotonic()
            while alone < len(jobs) and not self._worth_starting(begun, alone, len(jobs) - alone):
                number, job, given = jobs[alone]
                yield number, function(job, **given)
                alone += 1
        if alone < len(jobs):
            yield from self._elsewhere(function, jobs[alone:])

    def _worth_starting(self, begun: float, done: int, left: int) -> bool:
        """Whether so much is left, to judge by what is done, that other processes are worth their start."""
        return self.count > 1 and done > 0 and (time.monotonic() - begun) / done * left > WORTH

    def _elsewhere(self, function: Callable[..., Any], jobs: Jobs) -> Iterator[tuple[int, Any]]:
        from joblib import Parallel, delayed

        calls = [delayed(_numbered)(number, function, job, **given) for number, job, given in jobs]
        with self._engaged():
            try:
                if self.backend == "ray":
                    # Ray's engine hands results over only once all are there: waves keep most of them from a kill.
                    wave = WAVE * self.count
                    for first in range(0, len(calls), wave):
                        yield from Parallel(batch_size=1)(calls[first : first + wave])
                else:
                    yield from Parallel(batch_size=1, return_as="generator_unordered")(calls)
            except Exception as error:
                if type(error).__name__ not in KILLED:
                    raise
                raise UserError(
                    "A process of the sweep was killed, most likely for lack of memory.",
                    "The finished blocks are kept: run the same command with fewer processes (--threads 1).",
                ) from None

    @contextmanager
    def _engaged(self) -> Iterator[None]:
        from joblib import parallel_config

        if self.backend == "dask":
            with _dask(self.scheduler, self.count), parallel_config("dask", scatter=list(self.shared)):
                yield
        elif self.backend == "ray":
            with _ray(self.scheduler, self.count), parallel_config("ray"):
                yield
        else:
            watched = {"initializer": exit_with_parent, "initargs": (os.getpid(),)}
            with parallel_config("loky", n_jobs=self.count, inner_max_num_threads=1, **watched):
                yield


def _numbered(number: int, function: Callable[..., Any], job: Any, **given: Any) -> tuple[int, Any]:
    return number, function(job, **given)


@contextmanager
def _dask(scheduler: str, count: int) -> Iterator[None]:
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise _missing("dask") from None
    if scheduler:
        try:
            client = Client(scheduler, timeout=4)
        except (OSError, ValueError) as error:
            raise UserError(
                f"There is no Dask scheduler at {scheduler}: {error}.", "Check --scheduler, and that it runs."
            ) from None
        with client:
            yield
        return
    with LocalCluster(n_workers=count, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster):
        yield


@contextmanager
def _ray(scheduler: str, count: int) -> Iterator[None]:
    try:
        import ray
        from ray.util.joblib import register_ray
    except ImportError:
        raise _missing("ray") from None
    register_ray()
    try:
        ray.init(
            scheduler or None,
            **({} if scheduler else {"num_cpus": count}),
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except ConnectionError as error:
        raise UserError(f"There is no Ray cluster at {scheduler}: {error}.", "Check --scheduler.") from None
    try:
        yield
    finally:
        ray.shutdown()


def _missing(name: str) -> UserError:
    return UserError(
        f"al.backend = '{name}' needs {name}, which is not installed.", f"pip install 'initpools[{name}]'."
    )
