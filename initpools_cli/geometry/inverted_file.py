"""Lists of rows that lie together, so that near rows can be sought in a few of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.seeds import generator
from initpools_cli.geometry.distances import Indices, squared_distances
from initpools_cli.geometry.kmeans import kmeans
from initpools_cli.geometry.neighbors import nearest, nearest_k

# Lists for each √n rows, and rows in one at the least, on average.
LISTS, ROWS = 2, 8
# Rows for each list that its centroid is found on, and how often all of them are gone through.
SAMPLE, ITERATIONS = 16, 5
# Times the mean length; a longer list is cut.
LONGEST = 8


@dataclass(frozen=True)
class Lists:
    """A partition of n rows into l lists.

    Attributes
    ----------
    order : (n,) int64
        The rows, list by list, ascending within one.
    starts : (l + 1,) int64
        Where in `order` each list begins, and the end of the last.
    centroids : (l, d) float32
    """

    order: Indices
    starts: Indices
    centroids: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.centroids)

    def rows(self, at: int) -> Indices:
        """The rows of one list, ascending."""
        return self.order[self.starts[at] : self.starts[at + 1]]

    def around(self, at: int, probes: Indices, least: int) -> Indices:
        """The rows of one list and of others, ascending: more lists, the nearest first, where there are not enough.

        Parameters
        ----------
        probes : (p,) int64
            The others.
        least : int
            How many rows are needed, ≤ n.
        """
        chosen = np.union1d(probes, [at])
        if self.sizes[chosen].sum() < least:
            gaps = squared_distances(self.centroids, self.centroids[at])
            # What was chosen comes first.
            gaps[chosen] = -1
            chosen = np.argsort(gaps, kind="stable")
            chosen = chosen[: 1 + int(np.searchsorted(np.cumsum(self.sizes[chosen]), least))]
        return np.sort(np.concatenate([self.rows(each) for each in chosen]))

    @cached_property
    def sizes(self) -> Indices:
        """How long each list is, (l,)."""
        return np.diff(self.starts)


def make_lists(points: NDArray[np.float32], threads: int | None = None) -> Lists:
    """About 2 √n lists of rows by nearest centroid; the centroids are those of k-means on a sample.

    Nothing is left to chance: the same rows give the same lists. Lists more than eight times as long as the mean, of
    which duplicates make some, are cut, so that a few of them never are all rows.

    Parameters
    ----------
    points : (n, d) float32
    threads : int, optional
    """
    n = len(points)
    count = int(np.clip(LISTS * n**0.5, 1, max(1, n // ROWS)))
    rng = generator(0, "lists", n)
    sample = points[np.sort(rng.choice(n, min(n, SAMPLE * count), replace=False))]
    centroids = kmeans(sample, count, rng, iterations=ITERATIONS, threads=threads).centroids
    del sample
    labels = nearest(points, centroids, threads)[0]
    sizes = np.bincount(labels, minlength=count)
    pieces = -(-sizes // (LONGEST * -(-n // count)))
    owners = np.repeat(np.arange(count), pieces)
    piece = np.arange(len(owners)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    starts = np.repeat(np.cumsum(sizes) - sizes, pieces) + piece * sizes[owners] // pieces[owners]
    return Lists(np.argsort(labels, kind="stable"), np.append(starts, n), centroids[owners])


def nearest_lists(lists: Lists, count: int, threads: int | None = None) -> Indices:
    """For each list the `count` whose centroids are nearest to its own, (l, ≤ count) int64, mostly itself first."""
    return nearest_k(lists.centroids, lists.centroids, min(count, len(lists)), threads)[0]
