"""Calls in other processes whose results are kept, so that an interrupted command continues."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from initpools_cli.core.call_log import CallLog
from initpools_cli.geometry.call_digest import call_digest

T = TypeVar("T")


class CompletedCalls(Protocol):
    """Calls functions in other processes, and returns results as they come."""

    def completed(self, function: Callable[..., T], jobs: Iterable[Sequence[Any]]) -> Iterator[tuple[int, T]]:
        """Yield the number of each job and the result of ``function(*job)``, in any order."""


@dataclass(frozen=True)
class ResumableExecutor:
    """An `Executor` that calls no function again whose result is kept.

    Attributes
    ----------
    executor : CompletedCalls
    log : CallLog
        Results by `call_digest`.
    """

    executor: CompletedCalls
    log: CallLog

    def map(self, function: Callable[..., T], jobs: Iterable[Sequence[Any]]) -> list[T]:
        """Return the results of ``function(*job)`` in the order of the jobs."""
        results: dict[int, T] = {}
        waiting: list[tuple[int, bytes]] = []
        digests: dict[int, tuple[Any, bytes]] = {}

        def missing() -> Iterator[Sequence[Any]]:
            for place, job in enumerate(jobs):
                key = call_digest(function, job, digests)
                try:
                    results[place] = self.log[key]
                except KeyError:
                    waiting.append((place, key))
                    yield job

        for number, result in self.executor.completed(function, missing()):
            place, key = waiting[number]
            self.log.add(key, result)
            results[place] = result
        return [results[place] for place in range(len(results))]
