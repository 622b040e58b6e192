"""Make the next thing ready while the present one is worked on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def ahead(make: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[Made]:
    """``map(make, items)``, in order, each made in another thread while the one before it is in use.

    One is ready and one under way, never more: memory holds two of them beside the one in use.
    """
    with ThreadPoolExecutor(1) as other:
        waiting = None
        for item in items:
            coming = other.submit(make, item)
            if waiting is not None:
                yield waiting.result()
            waiting = coming
        if waiting is not None:
            yield waiting.result()
