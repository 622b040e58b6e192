"""DCoM: cover the images first, and turn to those the model is unsure of as more of them are covered."""

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

# A ball must hold this share of images of its center's class, and so much more where everything is covered.
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
    """Take the image with the highest c · uncertainty + (1 − c) · images newly covered, where c grows with coverage.

    Without a model it is ProbCover. With one, every labeled image gets the largest ball in which enough images seem to
    be of its class; picks of the same batch cover with the mean radius. Uncertainty is 1 − margin; both terms are
    brought to [0, 1] before each pick, as in the paper's code. Deviations: all radii are found anew with the present
    model, where the paper keeps those of earlier rounds, so that the coverage that sets their purity is taken with
    balls of `delta`; the ball of a labeled image covers with its whole radius, where the code cuts it at the mean
    radius before it counts what a pick newly covers; radii are not rounded; every image counts, where the code leaves
    out the last few hundred.

    Parameters
    ----------
    embeddings : (n, d) float32
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator
        For the clusters, where delta is 0.
    probs : (n, c) float64, optional
        Of a model trained on the labeled images; rows sum to 1.
    labels : (n,) int64, optional
        Those that were bought, -1 where there is none; without, the model's answers stand for them.
    delta : float
        The first radius, in the embeddings' unit; 0 means as `probcover` finds it, with `n_clusters` and `alpha`.
    max_delta, resolution : float
        Radii are looked for up to the one, by halving steps until they are as short as the other.
    steepness, center : float
        c = (1 + e^(−k (1 − a))) / (1 + e^(−k (coverage − a))) with k and a.

    Returns
    -------
    Selection
        Scores: the two terms together, in [0, 1]; without a model those of ProbCover.
    """
    if probs is None:
        return probcover(embeddings, labeled, budget, rng, delta=delta, n_clusters=n_clusters, alpha=alpha)
    radius = delta or pure_radius(embeddings, n_clusters, alpha, rng)
    classes = probs.argmax(axis=1)
    if labels is not None:
        bought = labeled[labels[labeled] >= 0]
        classes[bought] = labels[bought]
    covered = np.zeros(len(embeddings), bool)
    if len(labeled):
        near = nearest_squared(embeddings, embeddings[labeled])[1] < radius * radius
        purity = PURITY + PURITY_COVERED * float(near.mean())
        radii = np.empty(len(labeled))
        for place, row in enumerate(labeled):
            squared = distances_to(embeddings, embeddings[row])
            radii[place] = pure_ball(squared, classes == classes[row], purity, max_delta, resolution)
            covered |= squared < radii[place] ** 2
        radius = float(radii.mean())
    weight = competence(float(covered.mean()), steepness, center)
    return mixed(embeddings, labeled, budget, covered, radius, 1 - margins(probs), weight)


def pure_ball(
    squared: NDArray[np.float64], alike: NDArray[np.bool_], purity: float, largest: float, resolution: float
) -> float:
    """The radius, by bisection, up to which at least a share `purity` of the images in the ball is alike its center.

    Parameters
    ----------
    squared : (n,) float64
        Squared distances from the center, itself among them.
    alike : (n,) bool
    purity, largest, resolution : float

    Returns
    -------
    float
        The middle of the last interval.
    """
    low, high = 0.0, largest
    for _ in range(max(0, int(np.ceil(np.log2(largest / resolution))))):
        middle = (low + high) / 2
        if alike[squared < middle * middle].mean() >= purity:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def competence(coverage: float, steepness: float, center: float) -> float:
    """How far to trust the model, 0 to 1: a logistic curve of the coverage that ends at 1."""
    from scipy.special import expit

    return float(expit(steepness * (coverage - center)) / expit(steepness * (1 - center)))


def mixed(
    points: NDArray[np.float32],
    labeled: NDArray[np.int64],
    budget: int,
    covered: NDArray[np.bool_],
    radius: float,
    uncertain: NDArray[np.float64],
    weight: float,
) -> Selection:
    """Pick by weight · uncertainty + (1 − weight) · images covered first by a ball of `radius`; see `dcom`."""
    balls, open_ = Balls(points, radius), ~covered
    gains = balls.count(np.flatnonzero(open_)).astype(np.float64)
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
        new = new[open_[new]]
        open_[new] = False
        gains -= balls.count(new)
    return Selection(picks, scores=scores)


def scaled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The values brought to [0, 1]; zeros where they are all the same."""
    low, high = values.min(), values.max()
    result: NDArray[np.float64] = (values - low) / (high - low) if high > low else np.zeros_like(values)
    return result
