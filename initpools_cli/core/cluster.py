"""Connections to Dask clusters, and calls of functions on their workers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from initpools_cli.core.errors import UserError

T = TypeVar("T")
#: Seconds to wait for a scheduler and for its first worker.
CONNECT, FIRST_WORKER = 4, 30
#: The level of Dask's own messages: below it are tracebacks of processes that are being stopped.
QUIET = logging.CRITICAL
#: Run by each worker of a cluster on this machine: after Ctrl-C in a terminal this process stops them.
IGNORE_INTERRUPTS = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
#: How often a call is repeated whose worker died.
RETRIES = 3
#: What to do once the cluster works again.
RESUME = "Then type the same command again: it continues from what was finished."


def missing(name: str) -> UserError:
    """Make the error for a backend whose library is not installed."""
    return UserError(
        f"The backend '{name}' needs {name}, which is not installed.", f"Run `pip install 'initpools[{name}]'`.", name
    )


@contextmanager
def dask_client(scheduler: str, count: int) -> Iterator[Any]:
    """Connect to a Dask scheduler, or start a cluster on this machine.

    Parameters
    ----------
    scheduler : str
        Its address; "" for a cluster of `count` processes on this machine.
    count : int

    Raises
    ------
    UserError
        Dask is not installed, or there is no scheduler at the address.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise missing("dask") from None
    if not scheduler:
        with (
            _quiet(),
            LocalCluster(
                n_workers=count,
                threads_per_worker=1,
                dashboard_address=":0",
                silence_logs=QUIET,
                preload=[IGNORE_INTERRUPTS],
            ) as cluster,
            Client(cluster) as one,
        ):
            yield one
        return
    try:
        client = Client(scheduler, timeout=CONNECT)
    except (OSError, ValueError) as error:
        raise UserError(
            f"There is no Dask scheduler at {scheduler}: {error}.",
            "Start it, or correct the address: --scheduler HOST:PORT.",
            scheduler,
        ) from None
    with _quiet(), client:
        yield client


@contextmanager
def _quiet() -> Iterator[None]:
    """Context manager without Dask's traceback for a lost scheduler, which `DaskExecutor` reports."""
    logger = logging.getLogger("distributed.client")
    level = logger.level
    logger.setLevel(QUIET)
    try:
        yield
    finally:
        logger.setLevel(level)


@dataclass(frozen=True)
class DaskExecutor:
    """Calls pure functions on the workers of a Dask cluster.

    Attributes
    ----------
    client : distributed.Client
    scheduler : str
        For error messages.
    """

    client: Any
    scheduler: str

    def map(self, function: Callable[..., T], jobs: Iterable[Sequence[Any]]) -> list[T]:
        """Return the results of ``function(*job)`` in the order of the jobs; see `completed`."""
        results = dict(self.completed(function, jobs))
        return [results[number] for number in range(len(results))]

    def completed(self, function: Callable[..., T], jobs: Iterable[Sequence[Any]]) -> Iterator[tuple[int, T]]:
        """Yield the number of each job and the result of ``function(*job)``, in any order.

        Calls whose worker died are repeated on another.

        Raises
        ------
        UserError
            If the scheduler is gone, no worker is left, or workers die again and again.
        """
        from concurrent.futures import CancelledError

        from distributed import KilledWorker, as_completed
        from distributed.client import ClosedClientError
        from distributed.comm import CommClosedError

        try:
            submit = self.client.submit
            numbers = {submit(function, *job, pure=False, retries=RETRIES): number for number, job in enumerate(jobs)}
            for batch in as_completed(list(numbers)).batches():
                yield from zip(map(numbers.pop, batch), self.client.gather(list(batch)), strict=True)
        except KilledWorker:
            raise UserError(
                f"Several workers of {self.scheduler} died with the same block of rows, probably for lack of memory.",
                f"Start fewer workers on each machine. {RESUME}",
                self.scheduler,
            ) from None
        except (CancelledError, ClosedClientError, CommClosedError, TimeoutError, OSError) as error:
            raise UserError(
                f"The connection to the scheduler {self.scheduler} was lost: {type(error).__name__}.",
                f"Start the scheduler and its workers. {RESUME}",
                self.scheduler,
            ) from None


@contextmanager
def dask_executor(scheduler: str, count: int) -> Iterator[DaskExecutor]:
    """Connect to a Dask cluster whose workers have this version of initpools.

    Parameters
    ----------
    scheduler, count
        As for `dask_client`.

    Raises
    ------
    UserError
        As `dask_client`; if there is no worker; if a worker has another version.
    """
    from initpools_cli.core.version import version

    with dask_client(scheduler, count) as client:
        address = client.scheduler.address
        try:
            client.wait_for_workers(1, timeout=FIRST_WORKER)
            versions = client.run(version)
        except TimeoutError:
            raise UserError(
                f"The Dask scheduler at {address} has had no worker for {FIRST_WORKER} s.",
                f"Start one: dask worker {address}",
                address,
            ) from None
        refuse_other_versions(versions, version())
        yield DaskExecutor(client, address)


def refuse_other_versions(workers: Mapping[str, str], own: str) -> None:
    """Refuse a cluster with workers of another version.

    Parameters
    ----------
    workers : mapping
        Their versions of initpools, by address.
    own : str

    Raises
    ------
    UserError
        With the first worker of another version.
    """
    other = next((each for each in workers.items() if each[1] != own), None)
    if other is not None:
        raise UserError(
            f"The worker {other[0]} has initpools {other[1]}, and this process {own}.",
            "Install the same version on all machines.",
            other[1],
        )
