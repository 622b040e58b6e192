"""Strategy `dcom`: coverage at low budgets, uncertainty once most images are covered."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from initpools_cli.core.bounds import Factor, PositiveCount
from initpools_cli.geometry.distances import distances_to
from initpools_cli.geometry.max_coverage import Balls
from initpools_cli.geometry.neighbors import nearest_squared
from initpools_cli.strategies.margin import margins
from initpools_cli.strategies.probcover import probcover, pure_radius, refuse_radius
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection

# Required share of images of the center's class in a ball, and its increase at full coverage.
PURITY, PURITY_COVERED = 0.4, 0.2
Length = Annotated[float, Field(ge=1e-9, le=1e30)]


@strategies.register(
    paper="Mishal & Weinshall 2024, arXiv:2407.01804", nested=True, cost="n² d", factor=4.0, check=refuse_radius
)
def dcom(
    embeddings: NDArray[np.float32],
    labeled: NDArray[np.int64],
    budget: int,
    rng: np.random.Generator,
    probs: NDArray[np.float64] | None = None,
    labels: NDArray[np.int64] | None = None,
    *,
    delta: Factor = 0.0,
    n_clusters: PositiveCount = 20,
    alpha: Factor = 0.95,
    max_delta: Length = 1.1,
    resolution: Length = 0.05,
    steepness: Annotated[float, Field(ge=0, le=1e6)] = 50.0,
    center: Annotated[float, Field(ge=0, le=1)] = 0.8,
) -> Selection:
    """Take the image with the highest c · uncertainty + (1 − c) · newly covered images, where c grows with coverage.

    Without a model it equals ProbCover. With one, every labeled image has the largest ball in which enough images are
    predicted to be of its class. Picks of the same batch have balls of the mean radius. Uncertainty is 1 − margin. Both
    terms are scaled to [0, 1] before each pick, as in the paper's code.

    Differences from the paper and its code:

    - All radii are computed with the current model, where the paper keeps those of earlier rounds. The coverage that
      determines the required purity is therefore that of balls of radius `delta`.
    - The ball of a labeled image covers with its whole radius, where the code cuts it at the mean radius before
      counting newly covered images.
    - Radii and c are not rounded, and ties go to the lower index, where the code takes any.
    - All images count, where the code leaves out the last few hundred.

    Parameters
    ----------
    embeddings : (n, d) float32
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator
        Initializes k-means if delta is 0.
    probs : (n, c) float64, optional
        Predictions of a model trained on the labeled images; rows sum to 1.
    labels : (n,) int64, optional
        Bought labels, -1 elsewhere; default: predicted classes.
    delta : float
        The initial radius, in the embeddings' unit; 0 means as in `probcover`, with `n_clusters` and `alpha`.
    max_delta, resolution : float
        Largest radius, and resolution of the bisection for radii.
    steepness, center : float
        k and a in c = (1 + e^(−k (1 − a))) / (1 + e^(−k (coverage − a))).

    Returns
    -------
    Selection
        Scores: weighted sum of both terms, in [0, 1]; without a model those of ProbCover.
    """
    if probs is None:
        return probcover(embeddings, labeled, budget, rng, delta=delta, n_clusters=n_clusters, alpha=alpha)
    radius = delta or pure_radius(embeddings, n_clusters, alpha, rng)
    classes = probs.argmax(axis=1)
    if labels is not None:
        known_rows = labeled[labels[labeled] >= 0]
        classes[known_rows] = labels[known_rows]
    covered = np.zeros(len(embeddings), bool)
    if len(labeled):
        near = nearest_squared(embeddings, embeddings[labeled])[1] < radius * radius
        purity = PURITY + PURITY_COVERED * float(near.mean())
        radii = np.empty(len(labeled))
        for place, row in enumerate(labeled):
            sq_distances = distances_to(embeddings, embeddings[row])
            radii[place] = pure_ball(sq_distances, classes == classes[row], purity, max_delta, resolution)
            covered |= sq_distances < radii[place] ** 2
        radius = float(radii.mean())
    weight = competence(float(covered.mean()), steepness, center)
    return select_weighted(embeddings, labeled, budget, covered, radius, 1 - margins(probs), weight)


def pure_ball(
    sq_distances: NDArray[np.float64], same: NDArray[np.bool_], purity: float, largest: float, resolution: float
) -> float:
    """Find the largest radius, by bisection, at which a share `purity` of the images in the ball is of the same class.

    Parameters
    ----------
    sq_distances : (n,) float64
        Squared distances from the center, the center included.
    same : (n,) bool
        Whether each image has the class of the center.
    purity, largest, resolution : float

    Returns
    -------
    float
        The middle of the last interval.
    """
    low, high = 0.0, largest
    for _ in range(max(0, int(np.ceil(np.log2(largest / resolution))))):
        middle = (low + high) / 2
        if same[sq_distances < middle * middle].mean() >= purity:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def competence(coverage: float, steepness: float, center: float) -> float:
    """Compute the weight of uncertainty, 0 to 1: a logistic function of coverage, 1 at full coverage."""
    from scipy.special import expit

    return float(expit(steepness * (coverage - center)) / expit(steepness * (1 - center)))


def select_weighted(
    points: NDArray[np.float32],
    labeled: NDArray[np.int64],
    budget: int,
    covered: NDArray[np.bool_],
    radius: float,
    uncertain: NDArray[np.float64],
    weight: float,
) -> Selection:
    """Take the image with the highest weight · uncertainty + (1 − weight) · newly covered images; see `dcom`."""
    balls, uncovered = Balls(points, radius), ~covered
    gains = balls.count(np.flatnonzero(uncovered)).astype(np.float64)
    uncertain = scaled(uncertain)
    free = np.ones(len(points), bool)
    free[labeled] = False
    picks, scores = np.empty(budget, np.int64), np.empty(budget)
    for place in range(budget):
        both = weight * scaled(np.where(free, uncertain, 0)) + (1 - weight) * scaled(np.where(free, gains, 0))
        at = int(np.where(free, both, -1).argmax())
        picks[place], scores[place] = at, both[at]
        free[at] = False
        new = balls.around(at)
        new = new[uncovered[new]]
        uncovered[new] = False
        gains -= balls.count(new)
    return Selection(picks, scores=scores)


def scaled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale values to [0, 1]; zeros if they are all equal."""
    low, high = values.min(), values.max()
    result: NDArray[np.float64] = (values - low) / (high - low) if high > low else np.zeros_like(values)
    return result
