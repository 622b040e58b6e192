"""A query set: images of the data set, or embeddings of other images, that picks should be like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.strategies.candidates import as_rows

NAME = "query_set"


def resolve_query_set(arrays: Mapping[str, Any], n: int, flag: str) -> tuple[dict[str, Any], np.ndarray]:
    """Replace images named in a query set by their embeddings.

    Parameters
    ----------
    arrays : mapping of str to array
        With "query_set": embeddings (q, d), or indices or a mask of images; and the embeddings of the n images.
    n : int
    flag : str
        The option, for messages.

    Returns
    -------
    arrays : dict of str to array
        With embeddings as "query_set".
    rows : (m,) int64
        The images it names, ascending; empty for embeddings of other images. Strategies do not choose them.

    Raises
    ------
    UserError
        It names no image, or one that does not exist, or there are no embeddings.
    """
    query_set, embeddings = arrays.get(NAME), arrays.get("embeddings")
    nothing = np.empty(0, np.int64)
    if query_set is None or np.ndim(query_set) != 1:
        return dict(arrays), nothing
    rows = as_rows(flag, query_set, n)
    if not len(rows):
        raise UserError(f"{flag} names 0 images.", "Name at least one image that others should be like.", 0)
    if embeddings is None:
        return {key: array for key, array in arrays.items() if key != NAME}, nothing
    return {**arrays, NAME: np.asarray(embeddings[rows])}, rows
