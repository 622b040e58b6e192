"""Strategy `disparity`: the image with the largest sum of distances to all labeled images and earlier picks."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.capacity import FEWER, require_memory
from initpools_cli.geometry.chunked import map_blocks
from initpools_cli.geometry.distances import center_if_distant
from initpools_cli.geometry.farthest_first import nearest_to_mean
from initpools_cli.strategies.embeddings import as_embeddings
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection

# Images, and chosen images, per block.
ROWS, COLUMNS = 2048, 256
# Sums that differ by less than this share of the largest are ties.
TIE = 1e-9


@strategies.register(paper="Dasgupta, Kumar & Ravi 2013, ACL", nested=True, cost="b n d", factor=17.0, partitions=True)
def disparity(
    embeddings: NDArray[np.float32],
    labeled: NDArray[np.int64],
    budget: int,
    rng: np.random.Generator,
    *,
    metric: Literal["l2", "cosine"] = "l2",
) -> Selection:
    """Take the image with the largest sum of distances to all labeled images and earlier picks.

    This is disparity-sum (max-sum dispersion), greedy and exact. Picks gather at the ends of the data and may be near
    to each other. Disparity-min, the largest distance to the nearest pick, is `kcenter`. Without labeled images the
    first pick is the image nearest the mean. Sums within 1e-9 of the largest are ties.

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
        Scores: sum of the distances, 0 for the very first.
    """
    points = as_embeddings(embeddings, normalize=True) if metric == "cosine" else embeddings
    centered_points, squares, _ = center_if_distant(points)
    require_memory(8 * centered_points.size, "The embeddings in float64 take", FEWER)
    # Converted once, because every pick reads all of them.
    rows = centered_points.astype(np.float64)
    sums = np.zeros(len(rows))

    def add(picks: NDArray[np.int64]) -> None:
        """Add the distances to chosen images."""
        right = -2 * rows[picks].T

        def distances(span: slice) -> None:
            sq_distances = rows[span] @ right
            sq_distances += squares[span, None]
            sq_distances += squares[picks]
            np.maximum(sq_distances, 0, out=sq_distances)
            sums[span] += sq_distances.sum(axis=1) / 2 if metric == "cosine" else np.sqrt(sq_distances).sum(axis=1)

        map_blocks(distances, len(rows), ROWS)

    for start in range(0, len(labeled), COLUMNS):
        add(labeled[start : start + COLUMNS])
    picks, scores = np.empty(budget, np.int64), np.empty(budget)
    is_taken = np.zeros(len(rows), bool)
    is_taken[labeled] = True
    for place in range(budget):
        if not len(labeled) and not place:
            at = nearest_to_mean(points)
        else:
            largest = sums[~is_taken].max()
            at = int(np.flatnonzero(~is_taken & (sums >= largest * (1 - TIE)))[0])
        picks[place], scores[place] = at, sums[at]
        is_taken[at] = True
        add(np.array([at]))
    return Selection(picks, scores=scores)
