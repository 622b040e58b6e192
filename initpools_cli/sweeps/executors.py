"""Executors of jobs: this process, several processes, Dask or Ray."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from initpools_cli.core.cluster import dask_client, missing
from initpools_cli.core.errors import UserError
from initpools_cli.core.interrupts import exit_with_parent

#: Seconds of remaining work from which on worker processes are started; their start takes a few seconds.
MIN_SECONDS = 15.0
#: Jobs per worker and wave, for backends that return results wave by wave.
WAVE = 4
#: Exceptions of joblib's backends for a dead worker.
KILLED = {"TerminatedWorkerError", "KilledWorker", "WorkerCrashedError"}
#: Number, job, and keyword arguments of the function that runs it.
Jobs = Sequence[tuple[int, Any, Mapping[str, Any]]]


@dataclass(frozen=True)
class Executor:
    """Runs jobs in this process, in worker processes or on a cluster.

    Attributes
    ----------
    backend : {"processes", "dask", "ray"}
    count : int
        Number of worker processes; with 1, or if little work is left, jobs run in this process.
    scheduler : str
        The address of a Dask scheduler or Ray cluster, or "" for one on this machine.
    shared_objects : sequence of object
        Objects that all jobs read, sent to every worker of a cluster once.
    """

    backend: str
    count: int
    scheduler: str = ""
    shared_objects: Sequence[object] = ()

    def map(self, function: Callable[..., Any], jobs: Jobs) -> Iterator[tuple[int, Any]]:
        """Yield the number and result of each job as it finishes.

        Raises
        ------
        UserError
            If a worker was killed, or a job raised it.
        """
        n_done = 0
        if self.backend == "processes":
            start = time.monotonic()
            while n_done < len(jobs) and not self._start_workers(start, n_done, len(jobs) - n_done):
                number, job, arguments = jobs[n_done]
                yield number, function(job, **arguments)
                n_done += 1
        if n_done < len(jobs):
            yield from self._map_workers(function, jobs[n_done:])

    def _start_workers(self, start: float, n_done: int, n_left: int) -> bool:
        """Return whether the remaining work, estimated from finished jobs, justifies worker processes."""
        return self.count > 1 and n_done > 0 and (time.monotonic() - start) / n_done * n_left > MIN_SECONDS

    def _map_workers(self, function: Callable[..., Any], jobs: Jobs) -> Iterator[tuple[int, Any]]:
        from joblib import Parallel, delayed

        calls = [delayed(_call)(number, function, job, **arguments) for number, job, arguments in jobs]
        with self._backend_context():
            try:
                if self.backend == "ray":
                    # Ray's backend returns results only when all jobs are done: waves limit the loss if it is killed.
                    wave = WAVE * self.count
                    for first in range(0, len(calls), wave):
                        yield from Parallel(batch_size=1)(calls[first : first + wave])
                else:
                    yield from Parallel(batch_size=1, return_as="generator_unordered")(calls)
            except Exception as error:
                if type(error).__name__ not in KILLED:
                    raise
                raise UserError(
                    "A worker process of the sweep was killed, probably because memory ran out.",
                    "Finished blocks are kept: run the same command with fewer processes (--threads 1).",
                    "killed",
                ) from None

    @contextmanager
    def _backend_context(self) -> Iterator[None]:
        from joblib import parallel_config

        if self.backend == "dask":
            with dask_client(self.scheduler, self.count), parallel_config("dask", scatter=list(self.shared_objects)):
                yield
        elif self.backend == "ray":
            with _ray(self.scheduler, self.count), parallel_config("ray"):
                yield
        else:
            options = {"initializer": exit_with_parent, "initargs": (os.getpid(),)}
            with parallel_config("loky", n_jobs=self.count, inner_max_num_threads=1, **options):
                yield


def _call(number: int, function: Callable[..., Any], job: Any, **arguments: Any) -> tuple[int, Any]:
    return number, function(job, **arguments)


@contextmanager
def _ray(scheduler: str, count: int) -> Iterator[None]:
    try:
        import ray
        from ray.util.joblib import register_ray
    except ImportError:
        raise missing("ray") from None
    register_ray()
    try:
        ray.init(
            scheduler or None,
            **({} if scheduler else {"num_cpus": count}),
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except ConnectionError as error:
        raise UserError(
            f"There is no Ray cluster at {scheduler}: {error}.",
            "Start it, or correct the address: --scheduler HOST:PORT.",
            scheduler,
        ) from None
    try:
        yield
    finally:
        ray.shutdown()
