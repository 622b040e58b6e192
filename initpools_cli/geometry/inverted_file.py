"""Inverted file: lists of nearby rows, so that neighbors are searched in a few lists only."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.seeds import generator
from initpools_cli.geometry.chunked import map_blocks
from initpools_cli.geometry.distances import Indices, squared_distances
from initpools_cli.geometry.kmeans import kmeans
from initpools_cli.geometry.knn import ROWS as QUERIES
from initpools_cli.geometry.knn import Take, candidate_neighbors
from initpools_cli.geometry.neighbors import nearest, nearest_k, search

# Lists per √n rows, and the least mean number of rows in a list.
LISTS, ROWS = 2, 8
# Sample rows per list for k-means, and its iterations.
SAMPLE, ITERATIONS = 16, 5
# Lists longer than this many times the mean are split.
LONGEST = 8


@dataclass(frozen=True)
class Lists:
    """Partition of n rows into l lists.

    Attributes
    ----------
    order : (n,) int64
        The rows, list by list, ascending within a list.
    starts : (l + 1,) int64
        Start of each list in `order`, and the end of the last.
    centroids : (l, d) float32
    """

    order: Indices
    starts: Indices
    centroids: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.centroids)

    def rows(self, at: int) -> Indices:
        """Return the rows of one list, ascending."""
        return self.order[self.starts[at] : self.starts[at + 1]]

    def around(self, at: int, probes: Indices, least: int) -> Indices:
        """Return the rows of list `at` and of the lists `probes`, ascending.

        Further lists, the nearest first, are added until there are `least` rows.

        Parameters
        ----------
        at : int
        probes : (p,) int64
        least : int
            Number of rows needed, ≤ n.
        """
        chosen = np.union1d(probes, [at])
        if self.sizes[chosen].sum() < least:
            gaps = squared_distances(self.centroids, self.centroids[at])
            # Lists chosen above come first.
            gaps[chosen] = -1
            chosen = np.argsort(gaps, kind="stable")
            chosen = chosen[: 1 + int(np.searchsorted(np.cumsum(self.sizes[chosen]), least))]
        return np.sort(np.concatenate([self.rows(each) for each in chosen]))

    @cached_property
    def sizes(self) -> Indices:
        """Number of rows in each list, (l,)."""
        return np.diff(self.starts)


def make_lists(points: NDArray[np.float32], threads: int | None = None) -> Lists:
    """Partition rows into about 2 √n lists by the nearest centroid of k-means on a sample.

    Deterministic: the same rows give the same lists. Lists more than eight times as long as the mean, which duplicates
    can cause, are split, so that a few lists never hold all rows.

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
    """Find for each list the `count` lists with the nearest centroids, (l, ≤ count) int64, itself usually first."""
    return nearest_k(lists.centroids, lists.centroids, min(count, len(lists)), threads)[0]


def each_in_lists(
    points: NDArray[np.float32],
    k: int,
    take: Take,
    probes: int,
    threads: int | None = None,
) -> None:
    """Search neighbors in a few lists: gather all candidates of a list's rows, centered on its centroid.

    As `ivf.each_in_ivf`, but `probes` counts the lists nearest to a row's own list, or more if they hold too few rows.
    """
    lists = make_lists(points, threads)
    near = nearest_lists(lists, probes, threads)

    def search_block(span: slice) -> None:
        at = span.start
        rows, members = lists.rows(at), lists.around(at, near[at], k + 1)
        # The original and the centered candidates are the largest arrays here.
        candidates = points[members]
        close = candidates - lists.centroids[at]
        squares = np.einsum("ij,ij->i", close, close).astype(np.float64)
        places = np.searchsorted(members, rows)
        for start in range(0, len(rows), QUERIES):
            part = places[start : start + QUERIES]
            index, squared, certain = candidate_neighbors(candidates, close, squares, part, k)
            take(members[part], members[index], squared)
            if not certain.all():
                uncertain = part[~certain]
                shift, limit = lists.centroids[at], np.full(len(uncertain), np.inf)
                index, squared = search(candidates[uncertain], candidates, k, shift, limit, uncertain)
                take(members[uncertain], members[index], squared)

    map_blocks(search_block, len(lists), 1, threads)
