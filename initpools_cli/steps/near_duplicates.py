"""Groups of exact copies and near-duplicates among the train images of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

    from initpools_cli.core.rundir import FinishedStep
    from initpools_cli.steps.context import Context

#: File of an embed step: the group of near-duplicates of each train image.
NEAR = "near_duplicates.npy"


@dataclass(frozen=True)
class Groups:
    """Groups of images, each named by its lowest row; an image without a copy is a group of its own.

    Attributes
    ----------
    exact : (n,) int64
        Images with the same checksum.
    near : (n,) int64
        Images that are near-duplicates by their embeddings, directly or through a chain of others, and exact copies.
        Equal to `exact` if there are no embeddings.
    """

    exact: NDArray[np.int64]
    near: NDArray[np.int64]


def duplicate_groups(context: Context, embeddings: np.ndarray | None = None) -> Groups:
    """Group the train images of a run; images that are left out of the data set are in no group.

    Parameters
    ----------
    context : Context
    embeddings : (n, d) array, optional
        Default: the groups that were found when the newest embeddings of the run were made. Nothing is embedded here.
    """
    exact = exact_groups(context.data.train_items, context.data.kept)
    if embeddings is not None:
        return Groups(exact, near_groups(embeddings, context.data.kept, exact))
    made = context.run.steps("embed") if context.run.exists else []
    return Groups(exact, exact if not made else _of_step(made[-1], context.data.kept, exact))


def _of_step(done: FinishedStep, kept: np.ndarray, exact: NDArray[np.int64]) -> NDArray[np.int64]:
    """Read the groups of an embed step; compute them for one of an older version or of fewer images."""
    if NEAR in done.facts["writes"]:
        near = done.array(NEAR)
        if len(near) == len(exact):
            return near
    return near_groups(done.array("train.npy", mapped=True), kept, exact)


def exact_groups(items: pd.DataFrame, kept: np.ndarray) -> NDArray[np.int64]:
    """Group images of equal checksum.

    Parameters
    ----------
    items : DataFrame
        The rows of ``items.csv`` of one split, with ``sha256``.
    kept : (n,) bool

    Returns
    -------
    (n,) int64
    """
    groups, rows = np.arange(len(kept)), np.flatnonzero(kept)
    _, lowest, member = np.unique(items["sha256"].to_numpy(str)[rows], return_index=True, return_inverse=True)
    groups[rows] = rows[lowest[member]]
    return groups


def near_groups(embeddings: np.ndarray, kept: np.ndarray, exact: NDArray[np.int64]) -> NDArray[np.int64]:
    """Group near-duplicates; zero rows of embeddings are near to nothing.

    Parameters
    ----------
    embeddings : (n, d) array
    kept : (n,) bool
    exact : (n,) int64
        Groups that are joined with them.

    Returns
    -------
    (n,) int64
    """
    from initpools_cli.geometry.near_duplicates import groups_of, near_pairs
    from initpools_cli.strategies.duplicates import zero_rows

    rows = np.flatnonzero(kept & ~zero_rows(embeddings[: len(kept)]))
    pairs, _ = near_pairs(embeddings if len(rows) == len(embeddings) else embeddings[rows])
    return groups_of(np.concatenate([rows[pairs], np.column_stack([exact, np.arange(len(exact))])]), len(exact))
