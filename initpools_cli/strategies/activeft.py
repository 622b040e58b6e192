"""Strategy `activeft`: picks with the distribution of all images, by gradient descent on the sphere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.bounds import Passes, PositiveFactor
from initpools_cli.geometry.chunked import map_blocks
from initpools_cli.geometry.neighbors import nearest_free
from initpools_cli.geometry.segment_sum import sums_by_label
from initpools_cli.strategies.embeddings import as_embeddings
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, unlabeled_rows

ROWS = 1024
BETAS = (0.9, 0.999)
EPSILON = 1e-8
# Lower limit of denominators that underflow at a very low temperature.
TINY = 1e-300


@strategies.register(paper="Xie et al. 2023, arXiv:2303.14382", nested=False, cost="t n d b", factor=1.5)
def activeft(
    embeddings: NDArray[np.float32],
    labeled: NDArray[np.int64],
    budget: int,
    rng: np.random.Generator,
    *,
    temperature: PositiveFactor = 0.07,
    balance: PositiveFactor = 1.0,
    lr: PositiveFactor = 1e-3,
    iterations: Passes = 300,
) -> Selection:
    """Move one point per pick toward its nearest images and away from other points; take the image nearest to each.

    The loss is minimized by Adam (t iterations) from random images. Then each point in turn takes the image with the
    nearest direction.

    Differences from the paper: points start at unlabeled images and take only these, and labeled images are additional
    fixed points.

    Parameters
    ----------
    embeddings : (n, d) float32
        Only their directions are used.
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator
        Draws the initial points.
    temperature : float
        Temperature of the cosine similarities.
    balance : float
        Weight of the repulsion between points.
    lr : float
        Constant learning rate of Adam.
    iterations : int
        Number of steps of Adam.

    Returns
    -------
    Selection
        Scores: cosine between each point and its image.
    """
    points = as_embeddings(embeddings, normalize=True)
    start = rng.permutation(unlabeled_rows(len(points), labeled))[:budget]
    fixed_points = points[labeled].astype(np.float64)
    moving = points[start].astype(np.float64)
    first, second = np.zeros_like(moving), np.zeros_like(moving)
    for step in range(1, iterations + 1):
        lengths = np.linalg.norm(moving, axis=1, keepdims=True)
        lengths[lengths == 0] = 1.0
        unit = moving / lengths
        slope = loss_and_slope(points, np.vstack([unit, fixed_points]), temperature, balance)[1][:budget]
        # The tangential part only, because the length of a point is not in the loss.
        slope = (slope - unit * np.einsum("ij,ij->i", slope, unit)[:, None]) / lengths
        first = BETAS[0] * first + (1 - BETAS[0]) * slope
        second = BETAS[1] * second + (1 - BETAS[1]) * slope**2
        root = np.sqrt(second / (1 - BETAS[1] ** step)) + EPSILON
        moving -= lr * first / (1 - BETAS[0] ** step) / root
    final = as_embeddings(moving, normalize=True)
    picks, distances = nearest_free(final, points, labeled)
    return Selection(picks, scores=1 - distances**2 / 2)


def loss_and_slope(
    points: NDArray[np.float32], centers: NDArray[np.float64], temperature: float, balance: float
) -> tuple[float, NDArray[np.float64]]:
    """Compute the loss of ActiveFT and its gradient with respect to the centers.

    The mean over the points z of log(e^(z·c/τ) + balance Σ_k e^(k·c/τ)) − z·c/τ, where c is the center most similar to
    z and k runs over all centers, which are constants in the sum, as in the paper's code.

    Parameters
    ----------
    points : (n, d) float32
        Of length 1.
    centers : (k, d) float64
        Of length 1.
    temperature, balance : float

    Returns
    -------
    loss : float
    slope : (k, d) float64
    """
    n, k = len(points), len(centers)

    # All exponentials are relative to e^(1/τ), the largest possible.
    def push(span: slice) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        similar = np.exp((centers[span] @ centers.T - 1) / temperature)
        crowding = np.maximum(similar.sum(axis=1), TINY)
        return crowding, similar @ centers / crowding[:, None]

    blocks = map_blocks(push, k, ROWS)
    crowding = np.concatenate([part[0] for part in blocks])

    directions = np.ascontiguousarray(centers.T, np.float32)

    own, losses, shares = np.empty(n, np.int64), np.empty(n), np.empty(n)

    def pull(span: slice) -> None:
        # The most similar center is determined in float32, its similarity computed in float64.
        own[span] = (points[span] @ directions).argmax(axis=1)
        block = points[span].astype(np.float64)
        likeness = (np.einsum("ij,ij->i", block, centers[own[span]]) - 1) / temperature
        against = balance * crowding[own[span]]
        total = np.exp(likeness) + against
        losses[span], shares[span] = np.log(total) - likeness, against / total

    map_blocks(pull, n, ROWS)
    pulls = sums_by_label(points, slice(None), own, shares, k)
    weights = np.bincount(own, weights=shares, minlength=k)
    pushes = np.concatenate([part[1] for part in blocks]) * weights[:, None]
    return float(losses.sum()) / n, (pushes - pulls) / (n * temperature)
