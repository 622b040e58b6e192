"""Strategy `kcenter`: farthest-first traversal (core-set)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.farthest_first import farthest_first
from initpools_cli.geometry.neighbors import nearest_squared
from initpools_cli.geometry.rows import view
from initpools_cli.strategies.embeddings import as_embeddings
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection


def distance_to_chosen(
    embeddings: NDArray[np.float32], rows: NDArray[np.int64], picks: NDArray[np.int64], knobs: Mapping[str, Any]
) -> NDArray[np.float64]:
    """Compute the distance of each of `rows` to the nearest of the rows `picks`, (m,), in the metric of the knobs."""
    cosine = knobs["metric"] == "cosine"
    points = as_embeddings(embeddings, normalize=True) if cosine else embeddings
    sq_distances = nearest_squared(view(points, rows), points[picks])[1]
    return sq_distances / 2 if cosine else np.sqrt(sq_distances)


@strategies.register(
    paper="Sener & Savarese 2018, arXiv:1708.00489",
    nested=True,
    cost="b n d",
    by_rows=True,
    factor=5.0,
    aliases=("coreset", "k-center"),
    ranks_logits=True,
    rest=distance_to_chosen,
)
def kcenter(
    embeddings: NDArray[np.float32],
    labeled: NDArray[np.int64],
    budget: int,
    rng: np.random.Generator,
    *,
    metric: Literal["l2", "cosine"] = "l2",
) -> Selection:
    """Take the image farthest from all labeled images and earlier picks.

    The greedy solution of the paper, without its mixed-integer refinement. Without labeled images the first pick is the
    image nearest the mean, which makes it deterministic.

    Parameters
    ----------
    embeddings : (n, d) float32
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator
        Unused.
    metric : {"l2", "cosine"}
        Euclidean, or 1 − cos; a zero row has the cosine distance 1/2 from all others.

    Returns
    -------
    Selection
        Scores: distance to the nearest labeled image or earlier pick, inf for the very first.
    """
    if metric == "cosine":
        directions = as_embeddings(embeddings, normalize=True)
        picks, sq_distances = farthest_first(directions, budget, labeled)
        return Selection(picks, scores=sq_distances / 2)
    picks, sq_distances = farthest_first(embeddings, budget, labeled)
    return Selection(picks, scores=np.sqrt(sq_distances))
