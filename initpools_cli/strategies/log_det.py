"""Strategy `log-det`: the greedy mode of a determinantal point process."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.bounds import PositiveFactor
from initpools_cli.core.capacity import FEWER, require_memory
from initpools_cli.geometry.chunked import map_blocks
from initpools_cli.geometry.facility_location import TIE
from initpools_cli.geometry.farthest_first import nearest_to_mean
from initpools_cli.geometry.similarity import Similarity, similarities
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, fill_by_distance

# Images per block.
ROWS = 2048


@strategies.register(
    paper="Chen, Zhang & Zhou 2018, arXiv:1709.05135", nested=True, cost="b n d + b² n", factor=10.0, partitions=True
)
def log_det(
    embeddings: NDArray[np.float32],
    labeled: NDArray[np.int64],
    budget: int,
    rng: np.random.Generator,
    *,
    similarity: Literal["cosine", "rbf"] = "rbf",
    bandwidth: PositiveFactor = 1.0,
) -> Selection:
    """Take the image that most increases the determinant of the similarities among labeled and picked images.

    This is greedy MAP inference of a determinantal point process whose kernel is the similarity: picks differ from each
    other and from labeled images. Exact, by the paper's incremental Cholesky factors, which take 8 bytes for each pick
    and image. Factors within 1e-6 are ties.

    Differences from the paper and its code:

    - Without labeled images all first picks are equal, and the image nearest the mean is taken.
    - Once no image increases the determinant by a factor of 1e-6, it continues with the image farthest from all picks.
      The code stops at 1e-10.

    Parameters
    ----------
    embeddings : (n, d) float32
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator
        Unused.
    similarity : {"cosine", "rbf"}
        (1 + cos) / 2, for at most d + 1 picks, or exp(−(distance / bandwidth)²).
    bandwidth : float
        In the embeddings' unit; for "rbf".

    Returns
    -------
    Selection
        Scores: factor by which a pick increases the determinant, from 0 to 1; 0 once no image increases it.
    """
    similar = similarities(embeddings, similarity, bandwidth)
    n, d = embeddings.shape
    own = np.ones(n) if similarity == "rbf" else np.where(embeddings.any(axis=1), 1.0, 0.5)
    most = min(len(labeled) + budget, n, n if similarity == "rbf" else d + 1)
    require_memory(8 * n * (most + d), f"The factors of log-det for {most:,} picks of {n:,} images take", FEWER)
    # Converted once, because every pick reads all of them.
    similar = replace(similar, points=similar.points.astype(np.float64))
    cholesky = _Cholesky(similar, own, most)
    for row in labeled:
        if cholesky.left[row] > TIE:
            cholesky.take(int(row))
    cholesky.left[labeled] = -np.inf
    picks: list[int] = []
    factors: list[float] = []
    while len(picks) < budget and cholesky.left.max() > TIE and cholesky.count < most:
        first = not len(labeled) and not picks
        at = nearest_to_mean(embeddings) if first else cholesky.largest()
        picks.append(at)
        factors.append(float(cholesky.left[at]))
        cholesky.take(at)
        cholesky.left[at] = -np.inf
    return fill_by_distance(embeddings, labeled, np.array(picks, np.int64), np.array(factors), budget)


class _Cholesky:
    """Cholesky factors of the similarities of all images to those taken.

    Attributes
    ----------
    left : (n,) float64
        Factor by which each image would increase the determinant.
    count : int
        Number of images taken.
    """

    def __init__(self, similar: Similarity, own: NDArray[np.float64], most: int) -> None:
        self.similar, self.left, self.count = similar, own.copy(), 0
        # Memory is used as rows are written.
        self.factors = np.empty((most, len(own)))

    def largest(self) -> int:
        """Return the image with the largest factor; ties go to the lower index."""
        return int(np.flatnonzero(self.left >= self.left.max() - TIE)[0])

    def take(self, row: int) -> None:
        """Add an image."""
        one = self.similar.prepare(np.array([row]), np.float64)
        before, count = self.factors[: self.count, row].copy(), self.count
        scale = 1 / np.sqrt(self.left[row])

        def update(span: slice) -> None:
            values = self.similar.to(span, one)[:, 0]
            values -= before @ self.factors[:count, span]
            values *= scale
            self.factors[count, span] = values
            self.left[span] -= values**2

        map_blocks(update, len(self.left), ROWS)
        self.count += 1
