"""Requests to stop, and worker processes that end with the process that started them."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

#: Ctrl-C, and what schedulers and `kill` send.
STOPPING = (signal.SIGINT, signal.SIGTERM)
#: Seconds between two looks at whether the parent process is still there.
LOOK = 0.2


@contextmanager
def deferred_stop() -> Iterator[Callable[[], bool]]:
    """Hold back the first request to stop until the block ends; a second one stops at once.

    Yields
    ------
    callable
        Whether a request has arrived: the block should save what it has, and end.
    """
    arrived: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.getsignal(number) for number in STOPPING}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, frame: FrameType | None) -> None:
        arrived.append(number)
        restore()

    for number in STOPPING:
        signal.signal(number, note)
    try:
        yield lambda: bool(arrived)
    finally:
        restore()
    if arrived:
        signal.raise_signal(arrived[0])


def end_with(parent: int) -> None:
    """End this worker process soon after the process `parent`, its own parent, has ended, however that was.

    A parent that is killed can't tell its workers to stop, and they would go on to the end of their job.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK)
        # What runs here has nobody left to return to.
        os._exit(1)

    threading.Thread(target=watch, name="end with the parent", daemon=True).start()
