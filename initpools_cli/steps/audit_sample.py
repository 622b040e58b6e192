"""Audit sample: random images without a label that are mixed into a batch.

They estimate the accuracy without bias; the picks of a strategy cannot.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from initpools_cli.core.seeds import generator
from initpools_cli.datasets.stored.shards import is_readable
from initpools_cli.steps.context import Context
from initpools_cli.strategies.selection import Selection

#: Why an image is in a batch: a strategy chose it, or it was drawn at random.
BATCH, AUDIT = "batch", "audit"


def draw(free: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Draw `count` rows uniformly at random, or all if there are fewer; ascending.

    A larger sample contains a smaller one with the same seed.
    """
    return np.sort(generator(seed, "audit sample").permutation(free)[:count])


def mix(selection: Selection, audit: np.ndarray, seed: int) -> tuple[Selection, np.ndarray]:
    """Put the audit images at random places among the picks, which keep their order.

    Returns
    -------
    selection : Selection
        Without score or cluster for audit images.
    origins : (k,) str
    """
    picks, count = selection.indices, len(selection.indices) + len(audit)
    places = np.sort(generator(seed, "audit places").permutation(count)[: len(audit)])
    is_audit = np.zeros(count, bool)
    is_audit[places] = True

    def merge(values: np.ndarray, others: np.ndarray) -> np.ndarray:
        column = np.empty(count, values.dtype)
        column[~is_audit], column[is_audit] = values, others
        return column

    mixture = replace(
        selection,
        indices=merge(picks, generator(seed, "audit order").permutation(audit)),
        scores=None if selection.scores is None else merge(selection.scores, np.full(len(audit), np.nan)),
        clusters=None if selection.clusters is None else merge(selection.clusters, np.full(len(audit), -1)),
    )
    return mixture, np.where(is_audit, AUDIT, BATCH)


def readable(context: Context | None, rows: np.ndarray) -> np.ndarray:
    """Whether the file of each train row can be read, (k,) bool; always if the data set has no files."""
    if context is None or context.data.root is None:
        return np.ones(len(rows), bool)
    root, paths = context.data.root, context.data.train_items["path"].to_numpy()[rows]
    return np.array([is_readable(root / path) for path in paths], dtype=bool)
