"""Recall of approximate searches, measured on a random sample of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.seeds import generator
from initpools_cli.geometry.chunked import map_blocks
from initpools_cli.geometry.distances import Floats, Indices, mean_row
from initpools_cli.geometry.neighbors import search

# Rows of the sample, and of a block.
SAMPLE, ROWS = 256, 64


@dataclass(frozen=True)
class Recall:
    """Recall of an approximate search, measured on sampled rows.

    Attributes
    ----------
    index : str
        What was searched, such as ivf.
    rows : int
        Number of sampled rows.
    neighbors : int
        Number of their nearest neighbors.
    hits : int
        Those that are among the approximate ones, or are as near.
    """

    index: str
    rows: int
    neighbors: int
    hits: int


_recalls: ContextVar[list[Recall] | None] = ContextVar("recalls", default=None)


@contextmanager
def collect_recalls() -> Iterator[list[Recall]]:
    """Context manager in which approximate searches measure their recall; it yields a list that they add it to."""
    recalls: list[Recall] = []
    before = _recalls.set(recalls)
    try:
        yield recalls
    finally:
        _recalls.reset(before)


class RecallSample:
    """A random sample of the rows of an approximate search.

    Parameters
    ----------
    points : (n, d) float32
    k : int
        1 ≤ k < n.
    """

    def __init__(self, points: Floats, k: int) -> None:
        n = len(points)
        self.points, self.k = points, k
        self.rows = np.sort(generator(0, "recall", n).choice(n, min(n, SAMPLE), replace=False))
        self._place = np.full(n, -1, np.int32)
        self._place[self.rows] = np.arange(len(self.rows))
        self._sq_distances = np.full((len(self.rows), k), np.inf)

    def watch(
        self, take: Callable[[Indices | slice, Indices, NDArray[np.float64]], None]
    ) -> Callable[[Indices | slice, Indices, NDArray[np.float64]], None]:
        """Return a function that records the distances of sampled rows before it calls `take`."""

        def note(rows: Indices | slice, near: Indices, sq_distances: NDArray[np.float64]) -> None:
            place = self._place[rows]
            self._sq_distances[place[place >= 0]] = sq_distances[place >= 0]
            take(rows, near, sq_distances)

        return note

    def report(self, index: str, threads: int | None = None) -> None:
        """Compare with the exact neighbors of the sampled rows, and add the recall to the list of the context."""
        shift = mean_row(self.points, threads).astype(np.float32)

        def exact(span: slice) -> NDArray[np.float64]:
            rows = self.rows[span]
            limit = np.full(len(rows), np.inf)
            return search(self.points[rows], self.points, self.k, shift, limit, rows)[1][:, -1:]

        farthest = np.concatenate(map_blocks(exact, len(self.rows), ROWS, threads))
        hits = int((self._sq_distances <= farthest).sum())
        recalls = _recalls.get()
        assert recalls is not None, "a sample is drawn only while recalls are collected"
        recalls.append(Recall(index, len(self.rows), self._sq_distances.size, hits))


def recall_sample(points: Floats, k: int) -> RecallSample | None:
    """Draw a sample if recalls are collected; see `collect_recalls`."""
    return None if _recalls.get() is None else RecallSample(points, k)
