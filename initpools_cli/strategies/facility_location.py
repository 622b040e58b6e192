"""Facility location: every image near a pick, by the sum of similarities."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.bounds import Count, PositiveFactor
from initpools_cli.geometry.similarity import greedy_facility_location, similarities
from initpools_cli.geometry.sparse import nearby_similarities, sparse_facility_location
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, fill_by_distance


@strategies.register(paper="Lin & Bilmes 2011, ACL", nested=True, cost="n² d", factor=8.0)
def facility_location(
    embeddings: NDArray[np.float32],
    labeled: NDArray[np.int64],
    budget: int,
    rng: np.random.Generator,
    *,
    similarity: Literal["cosine", "rbf"] = "cosine",
    bandwidth: PositiveFactor = 1.0,
    neighbors: Count = 0,
    probes: Count = 0,
) -> Selection:
    """Take the image that raises most the sum over all images of the similarity to the most similar pick.

    Exact greedy with lazy evaluation. Gains within a millionth of one image are ties; once no image adds more than
    that it goes on by the largest distance to the nearest pick. With "rbf" it is MaxHerding.

    Parameters
    ----------
    embeddings : (n, d) float32
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator
        Not used.
    similarity : {"cosine", "rbf"}
        (1 + cos) / 2, or exp(−(distance / bandwidth)²).
    bandwidth : float
        In the embeddings' unit; for "rbf".
    neighbors : int
        0: all similarities count. Else only those of images of which either is among so many nearest of the other; all
        others are 0, and a million images can be chosen among.
    probes : int
        With neighbors: 0 finds them all, else they are sought in so many of about 2 √n lists of images that lie
        together, which is faster and misses some.

    Returns
    -------
    Selection
        Scores: by how much each raises the sum; 0 from where none does.
    """
    if neighbors:
        near = nearby_similarities(embeddings, similarity, bandwidth, neighbors, probes)
        picks, gains = sparse_facility_location(near, budget, labeled)
    else:
        picks, gains = greedy_facility_location(similarities(embeddings, similarity, bandwidth), budget, labeled)
    return fill_by_distance(embeddings, labeled, picks, gains, budget)
