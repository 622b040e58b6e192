"""Copies and zero rows among embeddings."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.duplicates import first_equal
from initpools_cli.geometry.rows import map_rows
from initpools_cli.strategies.checks import equal_embeddings
from initpools_cli.strategies.embeddings import ROWS, Array, in_file, rows_of
from initpools_cli.strategies.selection import Selection, ranks_within

# A row counts as zero if all entries are below this share of the largest entry of the median row: the resolution of
# float32.
ROUNDING = 2.0**-23
#: Maximum number of rows listed in a message.
NAMED = 10


@dataclass(frozen=True)
class RowFacts:
    """Copies and zero rows of embeddings before scaling.

    Attributes
    ----------
    original : (n,) int64
        The same number for equal rows: the lowest of these rows, in the numbering before `take`.
    largest : (n,) float64
        The largest absolute entry of each row.
    array : (n, d) array, optional
        The embeddings, kept for distances if a strategy reads only scores computed from them; not changed by `take`.
    """

    original: NDArray[np.int64]
    largest: NDArray[np.float64]
    array: Array | None = None

    @classmethod
    def of(cls, array: Array) -> RowFacts:
        """Find copies and zero rows of validated embeddings (n, d) or patches (n, p, d)."""
        flat = array if array.ndim == 2 else array.reshape(len(array), -1)
        return cls(first_equal(flat), largest_entries(flat), array)

    def take(self, rows: NDArray[np.int64]) -> RowFacts:
        """Restrict the facts to `rows`, ascending."""
        return replace(self, original=self.original[rows], largest=self.largest[rows])

    @property
    def zero(self) -> NDArray[np.bool_]:
        """Whether each row is zero up to rounding, (n,)."""
        return near_zero(self.largest)

    def copies(self, labeled: NDArray[np.int64] | None = None) -> NDArray[np.bool_]:
        """Mark unlabeled rows that equal a labeled row or a lower unlabeled row, except zero rows, (n,)."""
        n = len(self.original)
        is_labeled = np.zeros(n, bool)
        is_labeled[[] if labeled is None else labeled] = True
        order = np.lexsort((np.arange(n), ~is_labeled, self.original))
        is_repeat = np.zeros(n, bool)
        is_repeat[order[1:]] = np.diff(self.original[order]) == 0
        return is_repeat & ~is_labeled & ~self.zero

    def counts(self, labeled: NDArray[np.int64] | None = None) -> dict[str, int]:
        """Count zero rows and copies for ``step.toml``; counts of 0 are left out."""
        counts = {"zero_rows": int(self.zero.sum()), "copied_rows": int(self.copies(labeled).sum())}
        return {name: count for name, count in counts.items() if count}

    def refuse_equal(self) -> None:
        """Refuse embeddings that are equal for all images, ignoring zero rows.

        Raises
        ------
        UserError
            If they are equal. A single image passes.
        """
        n, zero = len(self.original), self.zero
        if n > 1 and len(np.unique(self.original[~zero])) < 2:
            others = f", except {zero.sum()} zero rows" if zero.any() and not zero.all() else ""
            raise equal_embeddings(n, others)


def largest_entries(rows: Array) -> NDArray[np.float64]:
    """Compute the largest absolute entry of each row (n, d), (n,)."""
    return np.concatenate(map_rows(_largest, rows_of(rows) if in_file(rows) else rows, block=ROWS))


def _largest(rows: Array) -> NDArray[np.float64]:
    largest: NDArray[np.float64] = np.abs(rows.astype(np.float64)).max(axis=1)
    return largest


def near_zero(largest: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Mark rows that are zero up to rounding, by their largest entries (n,)."""
    positive = largest[largest > 0]
    zero: NDArray[np.bool_] = largest <= (ROUNDING * np.median(positive) if len(positive) else 0)
    return zero


def zero_rows(embeddings: Array) -> NDArray[np.bool_]:
    """Mark rows of embeddings (n, d) that are zero up to rounding, (n,)."""
    return near_zero(largest_entries(embeddings))


def fallback_order(
    selection: Selection, rows: RowFacts, copies: NDArray[np.bool_], labeled: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Order the images that the strategy does not see, which are selected after all others.

    First copies: one of each picked image in the order of selection and one of each labeled image, then second copies,
    and so on. Then zero rows, by index.

    Parameters
    ----------
    selection : Selection
        The picks of the strategy.
    rows : RowFacts
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
    copy_rows = np.flatnonzero(copies)
    order = np.lexsort((copy_rows, place[group[copy_rows]], ranks_within(group[copy_rows])))
    return np.concatenate([copy_rows[order], np.setdiff1d(np.flatnonzero(rows.zero), labeled)])
