"""Computations in threads whose results come in order and do not depend on the number of threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

from initpools_cli.training.device import DeviceConfig

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Maximum of bytes in the inputs of all forward passes that run at the same time; activations take many times as much.
BYTES_AT_A_TIME = 2**26


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int, threads: int = 1
) -> Iterator[Result]:
    """Yield ``function(item)`` of each item in order, computed ahead by threads.

    Threads suffice: decoders of images and torch release Python's lock. An exception is raised in the order of the
    items too, so the first faulty item is reported.

    Parameters
    ----------
    function : callable
        Called in threads of its own; torch's thread-local modes, such as inference mode, must be set in it.
    items : iterable
        Read ahead by `workers` items.
    workers : int
        Calls at the same time.
    threads : int
        Threads of torch in each call.
    """
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(threads,))
    pending: deque[Future[Result]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)


def forward_workers(machine: DeviceConfig, nbytes: int) -> tuple[int, int]:
    """Return how many forward passes to run at the same time, and the threads of torch in each.

    On a CPU several passes with few threads are faster than one with many, which wait for each other after every
    layer. Their product is the number of threads of the machine.

    Parameters
    ----------
    machine : DeviceConfig
    nbytes : int
        Size of the inputs of one forward pass.
    """
    if machine.device.type != "cpu":
        return 1, machine.threads
    most = min(machine.threads, max(1, BYTES_AT_A_TIME // nbytes))
    workers = max(count for count in range(1, most + 1) if machine.threads % count == 0)
    return workers, machine.threads // workers
