"""Strategy `maxherding`: maximize the mean kernel similarity to the nearest pick."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from initpools_cli.core.bounds import PositiveFactor
from initpools_cli.core.errors import UserError
from initpools_cli.core.schema import ADDED
from initpools_cli.geometry.facility_location import greedy_facility_location
from initpools_cli.geometry.max_coverage import greedy_cover
from initpools_cli.geometry.similarity import BETA, similarities
from initpools_cli.strategies.objective_sample import ObjectiveSample, unpack
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, fill_by_distance


def refuse_beta(arrays: Mapping[str, NDArray[Any]], knobs: Mapping[str, Any]) -> None:
    """Refuse degrees of freedom for a kernel without any."""
    if knobs["kernel"] != "student" and knobs["beta"] != BETA:
        raise UserError(
            f"beta={knobs['beta']:g} has no effect with kernel={knobs['kernel']}.",
            "Set kernel=student, or leave out beta.",
            f"{knobs['beta']:g}",
        )


def revision(knobs: Mapping[str, Any]) -> int:
    """Return 2 for kernel=student, which was 1 / √(1 + t²) in revision 1, else 1."""
    return 2 if knobs["kernel"] == "student" else 1


@strategies.register(
    paper="Bae, Noh & Sutherland 2024, arXiv:2407.12212",
    nested=True,
    cost="n² d",
    factor=8.0,
    partitions=True,
    check=refuse_beta,
    revision=revision,
)
def maxherding(
    embeddings: NDArray[np.float32],
    labeled: NDArray[np.int64],
    budget: int,
    rng: np.random.Generator,
    sample: ObjectiveSample | None = None,
    *,
    kernel: Literal["rbf", "tophat", "student", "laplace"] = "rbf",
    bandwidth: PositiveFactor = 1.0,
    beta: Annotated[float, Field(ge=0.01, le=1000, json_schema_extra=ADDED)] = BETA,
) -> Selection:
    """Take the image that most increases the mean, over all images, of the kernel with the most similar pick.

    With "tophat" it equals ProbCover with delta = bandwidth. Gains within a millionth of one image are ties.

    Differences from the authors' code:

    - All images are candidates, where the code draws some.
    - Once no image adds more than a millionth of one image, it continues with the image farthest from all picks.

    Parameters
    ----------
    embeddings : (n, d) float32
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator
        Unused.
    sample : ObjectiveSample, optional
        Images that the mean is over, and those that may be picked; default: all.
    kernel : {"rbf", "tophat", "student", "laplace"}
        With t = distance / bandwidth: exp(−t²), t < 1, (1 + t² / beta)^(−(beta + 1) / 2), exp(−t).
    bandwidth : float
        In the embeddings' unit.
    beta : float
        Degrees of freedom of "student", from 0.01 to 1000; 0.5 in the authors' code.

    Returns
    -------
    Selection
        Scores: increase of the mean; 0 once no image increases it.
    """
    weights, candidates, support = unpack(sample)
    if kernel == "tophat":
        inside = None if weights is None else weights > 0
        picks, counts = greedy_cover(embeddings, bandwidth, budget, labeled, targets=inside, candidates=candidates)
        rows = len(embeddings) if inside is None else np.count_nonzero(inside)
        return fill_by_distance(embeddings, labeled, picks, counts / rows, budget, candidates)
    similar = similarities(embeddings, kernel, bandwidth, beta=beta)
    picks, gains = greedy_facility_location(similar, budget, labeled, weights, candidates=candidates, support=support)
    images = len(embeddings) if sample is None else sample.images
    return fill_by_distance(embeddings, labeled, picks, gains / images, budget, candidates)
