"""Strategy `similar`: images like those of a query set, and different from each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.bounds import Factor, PositiveFactor
from initpools_cli.core.errors import UserError
from initpools_cli.geometry.chunked import map_blocks
from initpools_cli.geometry.facility_location import TIE, exact_best_gain, greedy_facility_location, most_similar
from initpools_cli.geometry.similarity import Similarity, similarities
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection

# Images per block, and similarities per block.
ROWS, BLOCK = 512, 2**22


def refuse_zero_queries(arrays: Mapping[str, NDArray[Any]], knobs: Mapping[str, Any]) -> None:
    """Refuse queries without direction or of another width than the embeddings."""
    queries, d = arrays["query_set"], arrays["embeddings"].shape[1]
    if queries.shape[1] != d:
        raise UserError(
            f"query_set has {queries.shape[1]} dimensions, but the embeddings have {d}.",
            "Compute both with the same network, or name images of the run in the query set.",
            queries.shape[1],
        )
    zero = np.flatnonzero(~queries.any(axis=1))
    if len(zero):
        raise UserError(
            f"{len(zero)} of {len(queries)} rows of query_set are zero, the first {zero[0]}.",
            "Leave these rows out of the query set.",
            zero[0],
        )


@strategies.register(
    paper="Kothawade et al. 2021, arXiv:2107.00717; Iyer et al. 2021, arXiv:2006.15412",
    nested=True,
    cost="n q d",
    factor=20.0,
    check=refuse_zero_queries,
)
def similar(
    embeddings: NDArray[np.float32],
    query_set: NDArray[np.float32],
    labeled: NDArray[np.int64],
    budget: int,
    rng: np.random.Generator,
    *,
    objective: Literal["fl2mi", "fl1mi"] = "fl2mi",
    eta: Factor = 1.0,
    similarity: Literal["cosine", "rbf"] = "cosine",
    bandwidth: PositiveFactor = 1.0,
) -> Selection:
    """Take images like those of a query set ("more like these") that cover all of it.

    Maximizes the facility-location mutual information of the picks A and the queries Q, greedily and exactly. With the
    similarity s, it is

    - "fl2mi": Σ_q max_a s(q, a) + eta Σ_a max_q s(a, q). Every query gets a similar pick, and picks are similar to a
      query.
    - "fl1mi": Σ_x min(max_a s(x, a), eta max_q s(x, q)) over all images x. Every region that is near a query gets a
      pick.

    Gains within 1e-6 are ties.

    Differences from the papers:

    - Labeled images count as picks.
    - Once no image adds more than 1e-6 to "fl1mi", it continues with the image most similar to a query.

    Parameters
    ----------
    embeddings : (n, d) float32
    query_set : (q, d) float32
        Embeddings of the queries, scaled as `embeddings`.
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator
        Unused.
    objective : {"fl2mi", "fl1mi"}
        What is maximized, as above.
    eta : float
        Weight of the similarity to queries against the coverage of all queries ("fl2mi") or of the images near them.
    similarity : {"cosine", "rbf"}
        (1 + cos) / 2, or exp(−(distance / bandwidth)²).
    bandwidth : float
        In the embeddings' unit; for "rbf".

    Returns
    -------
    Selection
        Scores: the gains; 0 once no image adds more to "fl1mi".
    """
    n = len(embeddings)
    together = similarities(np.concatenate([embeddings, query_set]), similarity, bandwidth)
    queries = np.arange(n, n + len(query_set))
    if objective == "fl2mi":
        return _fl2mi(together, n, queries, labeled, budget, eta)
    nearest = most_similar(together, slice(0, n), queries)
    points = similarities(embeddings, similarity, bandwidth)
    picks, gains = greedy_facility_location(points, budget, labeled, ceiling=eta * nearest)
    # Rounded, so that ties go to the lower index.
    rest = nearest.round(6)
    rest[np.concatenate([labeled, picks])] = -np.inf
    more = np.argsort(-rest, kind="stable")[: budget - len(picks)]
    return Selection(np.concatenate([picks, more]), scores=np.concatenate([gains, np.zeros(len(more))]))


def _fl2mi(
    together: Similarity, n: int, queries: NDArray[np.int64], labeled: NDArray[np.int64], budget: int, eta: float
) -> Selection:
    """Choose greedily by "fl2mi"; the rows of `together` are n images and then the queries."""
    others = together.prepare(queries, np.float64)
    coverage = np.zeros(len(queries))
    size = max(1, min(ROWS, BLOCK // len(queries)))

    def cover(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """The largest similarity of each query to `rows`."""
        return np.max(map_blocks(lambda span: together.to(rows[span], others).max(axis=0), len(rows), size), axis=0)

    if len(labeled):
        coverage = cover(labeled)

    def gains_of(rows: NDArray[np.int64] | slice) -> NDArray[np.float64]:
        near = together.to(rows, others)
        total: NDArray[np.float64] = np.maximum(near - coverage, 0).sum(axis=1) + eta * near.max(axis=1)
        return total

    def measure(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.concatenate(map_blocks(lambda span: gains_of(rows[span]), len(rows), size))

    # Gains only shrink, so an old gain is an upper bound.
    bounds = np.concatenate(map_blocks(gains_of, n, size))
    bounds[labeled] = -np.inf
    picks, scores = np.empty(budget, np.int64), np.empty(budget)
    for place in range(budget):
        best = exact_best_gain(bounds, measure)
        at = int(np.flatnonzero(bounds >= best - TIE)[0])
        picks[place], scores[place] = at, bounds[at]
        coverage = np.maximum(coverage, cover(np.array([at])))
        bounds[at] = -np.inf
    return Selection(picks, scores=scores)
