"""Embedding rows that say nothing new: rows of length zero, and exact copies of other rows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.chunked import map_blocks
from initpools_cli.geometry.duplicates import first_equal
from initpools_cli.strategies.arrays import ROWS, Array
from initpools_cli.strategies.checks import equal_embeddings
from initpools_cli.strategies.selection import Selection, ranks_within

#: A row whose entries are all below this share of the median row's largest is zero but for rounding: float32, in which
#: embeddings are computed, resolves no less.
ROUNDING = 2.0**-23
#: How many rows a message names.
NAMED = 10


@dataclass(frozen=True)
class RowFacts:
    """What is known of the rows of embeddings as they were brought, before they are scaled.

    Attributes
    ----------
    original : (n,) int64
        The same number for equal rows: the lowest of them, or what that was before `take`.
    largest : (n,) float64
        The largest absolute entry of each row.
    array : (n, d) array, optional
        The embeddings themselves, where scores are made of them and distances are asked for; `take` leaves it whole.
    """

    original: NDArray[np.int64]
    largest: NDArray[np.float64]
    array: Array | None = None

    @classmethod
    def of(cls, array: Array) -> RowFacts:
        """Look the rows of checked embeddings (n, d), or of patches (n, p, d), through; in one pass over them."""
        flat = array.reshape(len(array), -1)
        return cls(first_equal(flat), largest_entries(flat), array)

    def take(self, rows: NDArray[np.int64]) -> RowFacts:
        """What is known of some of the rows, ascending."""
        return replace(self, original=self.original[rows], largest=self.largest[rows])

    @property
    def zero(self) -> NDArray[np.bool_]:
        """Rows of length zero, or so short beside the others that rounding may have left them, (n,)."""
        return short_beside_others(self.largest)

    def copies(self, labeled: NDArray[np.int64] | None = None) -> NDArray[np.bool_]:
        """Rows that equal a labeled row, or a lower row that is not labeled; rows of length zero are none, (n,)."""
        n = len(self.original)
        is_labeled = np.zeros(n, bool)
        is_labeled[[] if labeled is None else labeled] = True
        order = np.lexsort((np.arange(n), ~is_labeled, self.original))
        found = np.zeros(n, bool)
        found[order[1:]] = np.diff(self.original[order]) == 0
        return found & ~is_labeled & ~self.zero

    def counts(self, labeled: NDArray[np.int64] | None = None) -> dict[str, int]:
        """How many rows are zero, and how many are copies, for ``step.toml``; only what there is."""
        found = {"zero_rows": int(self.zero.sum()), "copied_rows": int(self.copies(labeled).sum())}
        return {name: count for name, count in found.items() if count}

    def refuse_equal(self) -> None:
        """Refuse embeddings that are the same for all images, those of length zero left aside.

        Raises
        ------
        UserError
            With the number of images. A single image passes.
        """
        n, zero = len(self.original), self.zero
        if n > 1 and len(np.unique(self.original[~zero])) < 2:
            others = f", but for {zero.sum()} of length zero" if zero.any() and not zero.all() else ""
            raise equal_embeddings(n, others)


def largest_entries(rows: Array) -> NDArray[np.float64]:
    """The largest absolute entry of each row (n, d), (n,)."""
    return np.concatenate(map_blocks(lambda span: np.abs(rows[span].astype(np.float64)).max(axis=1), len(rows), ROWS))


def short_beside_others(largest: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Rows that are zero, or zero but for rounding, by their largest entries (n,)."""
    lengths = largest[largest > 0]
    found: NDArray[np.bool_] = largest <= (ROUNDING * np.median(lengths) if len(lengths) else 0)
    return found


def zero_rows(embeddings: Array) -> NDArray[np.bool_]:
    """Which rows of embeddings (n, d) are of length zero, (n,)."""
    return short_beside_others(largest_entries(embeddings))


def last_of_all(
    selection: Selection, rows: RowFacts, copies: NDArray[np.bool_], labeled: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The images that a strategy has not seen, in the order in which they are taken after all others.

    First the copies: one of each image in the order of choice, then a second one of each; images that were labeled
    before come after those that were chosen. Then rows of length zero, by index.

    Parameters
    ----------
    selection : Selection
        Of the others.
    copies : (n,) bool
    labeled : (m,) int64

    Returns
    -------
    (k,) int64
    """
    n = len(copies)
    group = np.unique(rows.original, return_inverse=True)[1]
    place = np.full(n, n)
    place[group[selection.indices]] = np.arange(len(selection.indices))
    found = np.flatnonzero(copies)
    order = np.lexsort((found, place[group[found]], ranks_within(group[found])))
    return np.concatenate([found[order], np.setdiff1d(np.flatnonzero(rows.zero), labeled)])
