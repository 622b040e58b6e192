"""Strategy `freesel`: images with semantic patterns far from those selected before."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.bounds import PositiveCount
from initpools_cli.geometry.chunked import map_blocks
from initpools_cli.geometry.neighbors import nearest_squared
from initpools_cli.strategies.embeddings import as_embeddings
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection

# Images per block.
ROWS = 64
ITERATIONS = 20


@strategies.register(paper="Xie et al. 2023, arXiv:2309.17342", nested=True, cost="n p d k + b n k² d")
def freesel(
    patches: NDArray[Any],
    labeled: NDArray[np.int64],
    budget: int,
    rng: np.random.Generator,
    *,
    patterns: PositiveCount = 1,
    distance: Literal["cosine", "l2"] = "cosine",
    sampling: Literal["distance", "farthest"] = "distance",
) -> Selection:
    """Draw images by their semantic patterns (centers of patches), far from all patterns of images drawn before.

    Each pattern is drawn with probability proportional to its squared distance from the nearest pattern of a selected
    image, and its image is selected with all its patterns. The first is drawn uniformly.

    The paper uses one pattern per image for classification and five for detection, of the patches with half of the
    class token's attention: `embed.attention = 0.5` writes zeros for the others. Patches of zeros are left out. An
    image with fewer other patches than patterns has one pattern for each.

    Unlike in the paper's code, k-means starts from patches far apart, not from random ones, so only the draws depend on
    the seed.

    Parameters
    ----------
    patches : (n, p, d) float
        Features of p patches of each image, such as the last patch tokens of a transformer; zeros: left out.
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator
    patterns : int
        Number of patterns per image, at most its patches.
    distance : {"cosine", "l2"}
        1 − cos, or Euclidean.
    sampling : {"distance", "farthest"}
        "farthest" takes the farthest pattern instead of drawing.

    Returns
    -------
    Selection
        Scores: distance of the pattern from those selected before, inf for the very first.
    """
    n = len(patches)
    count = min(patterns, patches.shape[1])
    blocks = map_blocks(lambda span: centers(patches[span], count), n, ROWS)
    of_images, free = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    flat = as_embeddings(of_images.reshape(n * count, -1), distance == "cosine", "patches")
    groups = flat.reshape(n, count, -1)
    sq_distances = np.full(n * count, np.inf)
    free[labeled] = False
    if len(labeled):
        sq_distances = nearest_squared(flat, groups[labeled].reshape(-1, flat.shape[1]))[1]
    picks, scores = np.empty(budget, np.int64), np.empty(budget)
    for place in range(budget):
        # For unit vectors the squared Euclidean distance is twice the cosine distance.
        gaps = sq_distances / 2 if distance == "cosine" else np.sqrt(sq_distances)
        at = draw(np.where(free.ravel(), gaps, 0), free.ravel(), sampling, rng)
        picks[place], scores[place] = at // count, gaps[at]
        free[at // count] = False
        sq_distances = nearest_squared(flat, groups[at // count], sq_distances)[1]
    return Selection(picks, scores=scores)


def draw(gaps: NDArray[np.float64], free: NDArray[np.bool_], sampling: str, rng: np.random.Generator) -> int:
    """Draw a row with probability proportional to its squared gap, or take the largest; uniform if all are 0 or inf.

    Each draw uses one random number, so the first picks do not depend on the budget.
    """
    number = rng.random()
    if np.isinf(gaps).any() or not gaps.any():
        gaps = free.astype(np.float64)
    elif sampling == "farthest":
        return int(gaps.argmax())
    total = np.cumsum((gaps / gaps.max()) ** 2)
    at = int(np.searchsorted(total, number * total[-1], side="right"))
    # Rounding can place the draw behind the last row with a positive gap.
    return min(at, int(np.flatnonzero(gaps)[-1]))


def centers(patches: NDArray[Any], count: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Compute the k-means centers of each image's patches, without those of zeros.

    The initial centers are the patch farthest from the mean, then each time the patch farthest from those before.

    Parameters
    ----------
    patches : (b, p, d) float
    count : int
        ≤ p.

    Returns
    -------
    means : (b, count, d) float64
        In an image with fewer patches, the last ones repeat others.
    exists : (b, count) bool
        False for these.
    """
    points = np.asarray(patches, np.float64)
    kept = np.asarray(points.any(axis=2))
    numbers = np.maximum(kept.sum(axis=1), 1)[:, None]
    exists = np.arange(count) < numbers
    mean = points.sum(axis=1, keepdims=True) / numbers[:, :, None]
    if count == 1:
        return mean, exists
    images = np.arange(len(points))
    points = points - mean
    gaps = (points**2).sum(axis=2)
    means = np.empty((len(points), count, points.shape[2]))
    for place in range(count):
        means[:, place] = points[images, np.where(kept, gaps, -1).argmax(axis=1)]
        new = ((points - means[:, place, None]) ** 2).sum(axis=2)
        gaps = new if place == 0 else np.minimum(gaps, new)
    for _ in range(ITERATIONS):
        products = points @ means.transpose(0, 2, 1)
        own = (np.einsum("bkd,bkd->bk", means, means)[:, None] - 2 * products).argmin(axis=2)
        member = ((own[:, :, None] == np.arange(count)) & kept[:, :, None]).astype(np.float64)
        sizes = member.sum(axis=1)[:, :, None]
        sums = member.transpose(0, 2, 1) @ points
        # A center without patches stays where it is.
        means = np.divide(sums, sizes, out=means.copy(), where=sizes > 0)
    return means + mean, exists
