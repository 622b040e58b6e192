"""Folds of cross-validation on the labeled images of a data set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from initpools_cli.datasets.spec import Dataset


def folds_of(data: Dataset, rows: np.ndarray, codes: np.ndarray, seed: int) -> np.ndarray:
    """Assign labeled images to folds; images of one group and exact copies stay together.

    Parameters
    ----------
    rows, codes : (m,) int64
        Train images and their classes.
    seed : int

    Returns
    -------
    (m,) int64
        Fold of each image, from 0.
    """
    from initpools_cli.training.crossvalidation import assign_folds, assign_group_folds

    assign = assign_folds if data.groups is None else assign_group_folds
    return assign(codes, units_of(data, rows), seed)


def units_of(data: Dataset, rows: np.ndarray) -> np.ndarray:
    """Return which images have to be in one fold: images of one group and exact copies, linked transitively.

    Returns
    -------
    (m,) int64
        Equal for images that have to be together.
    """
    import pandas as pd

    copies = np.asarray(pd.factorize(data.train_items["sha256"].to_numpy()[rows])[0], dtype=np.int64)
    if data.groups is None:
        return copies
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    groups, size = data.groups[rows], len(data.group_names)
    links = coo_array((np.ones(len(rows)), (groups, size + copies)), shape=(size + len(rows),) * 2)
    return np.asarray(connected_components(links, directed=False)[1][groups], dtype=np.int64)
