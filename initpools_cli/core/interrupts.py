"""Being asked to stop: work that has something to save first does so, and then stops."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

#: Ctrl-C, and what schedulers and `kill` send.
STOPPING = (signal.SIGINT, signal.SIGTERM)


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
