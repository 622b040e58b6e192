"""Logits of a linear classifier."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.chunked import map_blocks

ROWS = 4096


def logits_of(
    features: NDArray[np.float32], head: NDArray[np.float64], threads: int | None = None
) -> NDArray[np.float64]:
    """Compute ``[features, 1] @ head``.

    Parameters
    ----------
    features : (n, h) float32
    head : (h + 1, c) float64
        Weights, with the bias as the last row.
    threads : int, optional

    Returns
    -------
    (n, c) float64
    """
    weights, bias = head[:-1], head[-1]
    return np.concatenate(map_blocks(lambda span: features[span] @ weights + bias, len(features), ROWS, threads))
