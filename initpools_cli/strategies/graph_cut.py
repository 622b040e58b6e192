"""Strategy `graph-cut`: images similar to many others and dissimilar to earlier picks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.bounds import Count, Factor, PositiveFactor
from initpools_cli.geometry.facility_location import BATCH, TIE, marginal_gains, row_sums
from initpools_cli.geometry.knn import approximate_revision
from initpools_cli.geometry.similarity import similarities
from initpools_cli.geometry.sparse import nearby_similarities
from initpools_cli.strategies.checks import refuse_probes_alone
from initpools_cli.strategies.objective_sample import ObjectiveSample, unpack
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection

if TYPE_CHECKING:
    from scipy.sparse import csr_array


@strategies.register(
    paper="Lin & Bilmes 2011, ACL",
    nested=True,
    cost="b n d",
    factor=70.0,
    partitions=True,
    revision=approximate_revision,
    check=refuse_probes_alone,
)
def graph_cut(
    embeddings: NDArray[np.float32],
    labeled: NDArray[np.int64],
    budget: int,
    rng: np.random.Generator,
    sample: ObjectiveSample | None = None,
    *,
    similarity: Literal["cosine", "rbf"] = "cosine",
    bandwidth: PositiveFactor = 1.0,
    lam: Factor = 1.0,
    neighbors: Count = 0,
    probes: Count = 0,
) -> Selection:
    """Take the image with the largest lam Σ_y s(x, y) − 2 Σ_picked s(x, l) − s(x, x), where s is the similarity.

    This is the gain of lam Σ_x Σ_y s(x, y) − Σ_x Σ_x' s(x, x') over picks x, x' and all images y; greedy and exact. The
    first sum is over all images and usually dominates: if picks concentrate in one region, use lam of about
    budget / n. Gains within 1e-6 are ties.

    Parameters
    ----------
    embeddings : (n, d) float32
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator
        Unused.
    sample : ObjectiveSample, optional
        Images y of the first sum, and those that may be picked; default: all.
    similarity : {"cosine", "rbf"}
        (1 + cos) / 2, or exp(−(distance / bandwidth)²).
    bandwidth : float
        In the embeddings' unit; for "rbf".
    lam : float
        Weight of the similarity to all images.
    neighbors, probes : int
        As for `facility-location`.

    Returns
    -------
    Selection
        Scores: the gains.
    """
    weights, candidates, support = unpack(sample)
    if neighbors and sample is None:
        near = nearby_similarities(embeddings, similarity, bandwidth, neighbors, probes)
        return _greedy(lam * near.sum(axis=1) - near.diagonal(), labeled, budget, partial(_take_from, near))
    similar = similarities(embeddings, similarity, bandwidth)
    own_weights = weights if weights is None or support is None else weights[support]
    zeros = np.zeros(len(embeddings) if support is None else len(support))
    sums, error = row_sums(similar, weights, support=support)
    own = 1.0 if similarity == "rbf" else (1 + embeddings.any(axis=1)) / 2

    def measure(gains: NDArray[np.float64], rows: NDArray[np.int64]) -> None:
        gains[rows] += lam * (marginal_gains(similar, rows, zeros, own_weights, support=support) - sums[rows] - error)

    def take(gains: NDArray[np.float64], row: int) -> None:
        gains -= 2 * similar.to_all(row)

    return _greedy(lam * (sums + error) - own, labeled, budget, take, measure if error else None, candidates)


def _take_from(similar: csr_array, gains: NDArray[np.float64], row: int) -> None:
    own = slice(similar.indptr[row], similar.indptr[row + 1])
    gains[similar.indices[own]] -= 2 * similar.data[own]


def _greedy(
    gains: NDArray[np.float64],
    labeled: NDArray[np.int64],
    budget: int,
    take: Callable[[NDArray[np.float64], int], None],
    measure: Callable[[NDArray[np.float64], NDArray[np.int64]], None] | None = None,
    candidates: NDArray[np.bool_] | None = None,
) -> Selection:
    """Take the largest gain each time; `take` lowers the gains, `measure` replaces upper bounds by exact gains."""
    rough = np.full(len(gains), measure is not None)
    for row in labeled:
        take(gains, int(row))
    gains[labeled] = -np.inf
    if candidates is not None:
        gains[~candidates] = -np.inf
    picks, scores = np.empty(budget, np.int64), np.empty(budget)
    for place in range(budget):
        while measure is not None and len(first := np.flatnonzero(rough & (gains >= gains.max() - TIE))[:BATCH]):
            measure(gains, first)
            rough[first] = False
        at = int(np.flatnonzero(gains >= gains.max() - TIE)[0])
        picks[place], scores[place] = at, gains[at]
        take(gains, at)
        gains[at] = -np.inf
    return Selection(picks, scores=scores)
