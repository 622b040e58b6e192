"""Table of groups of near-duplicates, as `initpools score duplicate -o FILE.csv` writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from initpools_cli.datasets.copies import exact_groups
from initpools_cli.steps.near_duplicates import pairs_of

if TYPE_CHECKING:
    import pandas as pd

#: Columns of the table: the image; its group, named by its lowest index, and how many images that has; whether the
#: image is a ``copy`` of another one in the group (same checksum), has an ``equal embedding``, or is only ``near``; the
#: most similar other image of the group, and the cosine similarities to it and to the first image of the group. A low
#: ``first_similarity`` shows that the group is a chain of pairs.
COLUMNS = ("index", "path", "group", "images", "relation", "nearest", "similarity", "first_similarity")


def duplicate_table(embeddings: np.ndarray, items: pd.DataFrame | None, mask: np.ndarray) -> pd.DataFrame:
    """List every image that has a near-duplicate or copy, by group.

    Parameters
    ----------
    embeddings : (n, d) array
    items : DataFrame, optional
        The train rows of items.csv; without them, images have no path and no checksum.
    mask : (n,) bool

    Returns
    -------
    DataFrame
        With `COLUMNS`, sorted by group and index.
    """
    import pandas as pd

    from initpools_cli.geometry.duplicates import first_equal
    from initpools_cli.geometry.near_duplicates import groups_of

    n = len(mask)
    exact = np.arange(n) if items is None else exact_groups(items, mask)
    pairs, _ = pairs_of(embeddings, mask)
    copies = np.flatnonzero(exact != np.arange(n))
    pairs = np.concatenate([pairs, np.column_stack([exact[copies], copies])])
    group = groups_of(pairs, n)
    size = np.bincount(group, minlength=n)[group]
    rows = np.flatnonzero(size > 1)
    rows = rows[np.argsort(group[rows], kind="stable")]
    equal = np.arange(n)
    equal[rows] = rows[first_equal(np.asarray(embeddings[rows]))]
    nearest, similarity = _nearest(embeddings, pairs, n)
    relation = np.where(_has_group(exact), "copy", np.where(_has_group(equal), "equal embedding", "near"))
    table = {
        "index": rows,
        "path": [""] * len(rows) if items is None else items["path"].to_numpy(str)[rows],
        "group": group[rows],
        "images": size[rows],
        "relation": relation[rows],
        "nearest": nearest[rows],
        "similarity": similarity[rows].round(4),
        "first_similarity": _cosines(embeddings, rows, group[rows]).round(4),
    }
    return pd.DataFrame(table, columns=list(COLUMNS))


def _has_group(groups: np.ndarray) -> np.ndarray:
    """Whether each row has another one in its group."""
    mask: np.ndarray = np.bincount(groups, minlength=len(groups))[groups] > 1
    return mask


def _nearest(embeddings: np.ndarray, pairs: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the most similar partner of each row, the lowest of several, and the similarity to it."""
    row, other = np.concatenate([pairs, pairs[:, ::-1]]).T
    cosine = np.tile(_cosines(embeddings, pairs[:, 0], pairs[:, 1]), 2)
    order = np.lexsort((other, -cosine, row))
    first = order[np.unique(row[order], return_index=True)[1]]
    nearest, similarity = np.full(n, -1), np.zeros(n)
    nearest[row[first]], similarity[row[first]] = other[first], cosine[first]
    return nearest, similarity


def _cosines(embeddings: np.ndarray, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the cosine similarity of pairs of rows; 0 with a zero row."""
    from initpools_cli.geometry.normalize import unit_rows

    unique, place = np.unique(np.concatenate([rows, others]), return_inverse=True)
    points = unit_rows(np.asarray(embeddings[unique])).astype(np.float64)
    cosines: np.ndarray = np.einsum("ij,ij->i", points[place[: len(rows)]], points[place[len(rows) :]])
    return cosines
