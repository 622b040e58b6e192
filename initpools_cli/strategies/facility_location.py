"""Strategy `facility-location`: maximize the sum of similarities to the most similar pick."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.bounds import Count, PositiveFactor
from initpools_cli.geometry.facility_location import greedy_facility_location
from initpools_cli.geometry.knn import approximate_revision
from initpools_cli.geometry.similarity import similarities
from initpools_cli.geometry.sparse import nearby_similarities, sparse_facility_location
from initpools_cli.strategies.checks import refuse_probes_alone
from initpools_cli.strategies.objective_sample import ObjectiveSample, unpack
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, fill_by_distance


@strategies.register(
    paper="Lin & Bilmes 2011, ACL",
    nested=True,
    cost="n² d",
    factor=8.0,
    partitions=True,
    revision=approximate_revision,
    check=refuse_probes_alone,
)
def facility_location(
    embeddings: NDArray[np.float32],
    labeled: NDArray[np.int64],
    budget: int,
    rng: np.random.Generator,
    sample: ObjectiveSample | None = None,
    *,
    similarity: Literal["cosine", "rbf"] = "cosine",
    bandwidth: PositiveFactor = 1.0,
    neighbors: Count = 0,
    probes: Count = 0,
) -> Selection:
    """Take the image that most increases the sum, over all images, of the similarity to the most similar pick.

    Exact greedy maximization with lazy evaluation. Gains within a millionth of one image are ties; once no image adds
    more than that, it continues with the image farthest from all picks. With "rbf" it equals MaxHerding.

    Parameters
    ----------
    embeddings : (n, d) float32
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator
        Unused.
    sample : ObjectiveSample, optional
        Images that the sum is over, and those that may be picked; default: all.
    similarity : {"cosine", "rbf"}
        (1 + cos) / 2, or exp(−(distance / bandwidth)²).
    bandwidth : float
        In the embeddings' unit; for "rbf".
    neighbors : int
        0: all similarities. Else only those between images of which either is among this many nearest of the other, and
        all others are 0, which allows a million images. Not in the second round of partitions.
    probes : int
        With neighbors: 0 is exact. Else approximate and faster: neighbors are searched in this many of about 2 √n lists
        of nearby images.

    Returns
    -------
    Selection
        Scores: increase of the sum; 0 once no image increases it.
    """
    weights, candidates, support = unpack(sample)
    if neighbors and sample is None:
        near = nearby_similarities(embeddings, similarity, bandwidth, neighbors, probes)
        picks, gains = sparse_facility_location(near, budget, labeled)
    else:
        similar = similarities(embeddings, similarity, bandwidth)
        picks, gains = greedy_facility_location(
            similar, budget, labeled, weights, candidates=candidates, support=support
        )
    return fill_by_distance(embeddings, labeled, picks, gains, budget, candidates)
