"""MaxHerding: every image similar to a pick, whatever the budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from initpools_cli.core.bounds import PositiveFactor
from initpools_cli.core.errors import UserError
from initpools_cli.core.schema import ADDED
from initpools_cli.geometry.max_coverage import greedy_cover
from initpools_cli.geometry.similarity import BETA, greedy_facility_location, similarities
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, go_on_by_distance


def refuse_beta(arrays: Mapping[str, NDArray[Any]], knobs: Mapping[str, Any]) -> None:
    """Refuse degrees of freedom for a kernel that has none."""
    if knobs["kernel"] != "student" and knobs["beta"] != BETA:
        raise UserError(
            f"beta={knobs['beta']:g} has no effect with kernel={knobs['kernel']}.",
            "Set kernel=student, or leave beta out.",
        )


def revision(knobs: Mapping[str, Any]) -> int:
    """2 for kernel=student, which was 1 / √(1 + t²) in revision 1."""
    return 2 if knobs["kernel"] == "student" else 1


@strategies.register(
    paper="Bae, Noh & Sutherland 2024, arXiv:2407.12212",
    nested=True,
    cost="n² d",
    factor=8.0,
    check=refuse_beta,
    revision=revision,
)
def maxherding(
    embeddings: NDArray[np.float32],
    labeled: NDArray[np.int64],
    budget: int,
    rng: np.random.Generator,
    *,
    kernel: Literal["rbf", "tophat", "student", "laplace"] = "rbf",
    bandwidth: PositiveFactor = 1.0,
    beta: Annotated[float, Field(ge=0.01, le=1000, json_schema_extra=ADDED)] = BETA,
) -> Selection:
    """Take the image that raises most the mean over all images of the kernel with the most similar pick.

    With "tophat" it is ProbCover at delta = bandwidth. Gains within a millionth of one image are ties. Deviations: all
    images are candidates, where the paper's code draws some; once no image adds more than that it goes on by the
    largest distance to the nearest pick.

    Parameters
    ----------
    embeddings : (n, d) float32
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator
        Not used.
    kernel : {"rbf", "tophat", "student", "laplace"}
        With t = distance / bandwidth: exp(−t²), t < 1, (1 + t² / beta)^(−(beta + 1) / 2), exp(−t).
    bandwidth : float
        In the embeddings' unit.
    beta : float
        The degrees of freedom of "student", from 0.01 to 1000; 0.5 is what the authors' code uses.

    Returns
    -------
    Selection
        Scores: by how much each raises the mean; 0 from where none does.
    """
    n = len(embeddings)
    if kernel == "tophat":
        picks, covered = greedy_cover(embeddings, bandwidth, budget, labeled)
        return go_on_by_distance(embeddings, labeled, picks, covered / n, budget)
    picks, gains = greedy_facility_location(similarities(embeddings, kernel, bandwidth, beta=beta), budget, labeled)
    return go_on_by_distance(embeddings, labeled, picks, gains / n, budget)
