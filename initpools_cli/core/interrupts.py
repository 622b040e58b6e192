"""Deferred signals, and worker processes that exit with their parent."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

#: Signals of Ctrl-C, and of schedulers and `kill`.
STOPPING = (signal.SIGINT, signal.SIGTERM)
#: Seconds between checks that the parent process is running.
POLL_INTERVAL = 0.2


@contextmanager
def deferred_stop() -> Iterator[Callable[[], bool]]:
    """Defer the first stop signal until the block ends; a second one stops at once.

    Yields
    ------
    callable
        Returns whether a signal was received: the block should save its state and end.
    """
    signals: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.getsignal(number) for number in STOPPING}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def receive(number: int, frame: FrameType | None) -> None:
        signals.append(number)
        restore()

    for number in STOPPING:
        signal.signal(number, receive)
    try:
        yield lambda: bool(signals)
    finally:
        restore()
    if signals:
        signal.raise_signal(signals[0])


def exit_with_parent(parent: int) -> None:
    """Exit this worker process soon after its parent process has ended for any reason.

    A killed parent can't stop its workers, and they would continue to the end of their job.

    Parameters
    ----------
    parent : int
        The process id of the parent.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL_INTERVAL)
        # Without a parent there is no use for the result.
        os._exit(1)

    threading.Thread(target=watch, name="exit with parent", daemon=True).start()
