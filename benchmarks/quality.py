"""How good picks are, by the objective of their strategy, computed plainly in float64."""

from __future__ import annotations

import numpy as np

ROWS = 1024
# Shares of the largest distance. Ours are exact; what peers compute in float32 may be off by so much.
EXACT, ROUNDED = 1e-6, 1e-4


def distances(points, picks):
    """Distances to all picks, block by block of the points, (≤ 1024, budget) float64."""
    centers = points[picks].astype(np.float64)
    norms = np.einsum("ij,ij->i", centers, centers)
    for start in range(0, len(points), ROWS):
        block = points[start : start + ROWS].astype(np.float64)
        sq_distances = np.einsum("ij,ij->i", block, block)[:, None] + norms - 2 * block @ centers.T
        yield np.sqrt(np.maximum(sq_distances, 0))


def gaps(points, picks):
    """The distance to the nearest pick, (n,)."""
    return np.concatenate([block.min(axis=1) for block in distances(points, picks)])


def greedy_loss(points, picks):
    """By how much a pick was nearer to those before it than the farthest image was, at worst, as a share of the latter.

    About 0 where each pick is the farthest image.
    """
    farthest, own = np.zeros(len(picks) - 1), np.empty(len(picks) - 1)
    place = np.full(len(points), -1)
    place[picks] = np.arange(len(picks))
    for number, block in enumerate(distances(points, picks)):
        nearest = np.minimum.accumulate(block, axis=1)
        farthest = np.maximum(farthest, nearest[:, :-1].max(axis=0))
        inside = place[number * ROWS : number * ROWS + len(block)]
        rows = np.flatnonzero(inside > 0)
        own[inside[rows] - 1] = nearest[rows, inside[rows] - 1]
    return float(((farthest - own) / np.maximum(farthest, 1e-300)).max(initial=0.0))


def typicality(points, picks, neighbors=20):
    """The mean over the picks of 1 / mean distance to the nearest images."""
    parts = [block.T for block in distances(points, picks)]
    nearest = np.concatenate([np.sort(part, axis=1)[:, : neighbors + 1] for part in parts], axis=1)
    # The first of all is the pick itself.
    return float((1 / np.sort(nearest, axis=1)[:, 1 : neighbors + 1].mean(axis=1)).mean())


def graph_cut(points, picks):
    """Σ over picks and images of (1 + cos) / 2, less that over pairs of picks; by the number of picks and images."""
    centers = points[picks].astype(np.float64)
    near_all = (len(points) * len(picks) + centers.sum(axis=0) @ points.sum(axis=0, dtype=np.float64)) / 2
    near_each_other = (1 + centers @ centers.T).sum() / 2
    return float((near_all - near_each_other) / (len(picks) * len(points)))


def log_determinant(points, picks):
    """The mean of the logarithms of the factors by which picks increase det exp(−distance²), at most 0."""
    similar = np.exp(-(np.concatenate(list(distances(points[picks], np.arange(len(picks))))) ** 2))
    return float(np.linalg.slogdet(similar)[1] / len(picks))


def dispersion(points, picks):
    """The mean distance between two picks."""
    between = np.concatenate(list(distances(points[picks], np.arange(len(picks)))))
    return float(between[np.triu_indices(len(picks), 1)].mean())


#: Of a strategy, the name of its objective and the function of points of length 1, picks and ball radius.
OBJECTIVES = {
    "kcenter": ("largest distance to the nearest pick", lambda p, i, r: float(gaps(p, i).max())),
    "typicality": ("mean typicality of the picks", lambda p, i, r: typicality(p, i)),
    "probcover": ("share of images within delta of a pick", lambda p, i, r: float((gaps(p, i) < r).mean())),
    **dict.fromkeys(
        ("maxherding", "uherding"),
        ("mean kernel to the most similar pick", lambda p, i, r: float(np.exp(-(gaps(p, i) ** 2)).mean())),
    ),
    "facility-location": (
        "mean similarity to the most similar pick",
        lambda p, i, r: float((1 - gaps(p, i) ** 2 / 4).mean()),
    ),
    "graph-cut": ("graph cut by picks and images", lambda p, i, r: graph_cut(p, i)),
    "log-det": ("log-determinant of the kernels of the picks, by their number", lambda p, i, r: log_determinant(p, i)),
    "disparity": ("mean distance between two picks", lambda p, i, r: dispersion(p, i)),
}
OTHERS = ("mean distance to the nearest pick", lambda p, i, r: float(gaps(p, i).mean()))


def agreement(strategy, points, ours, theirs):
    """Whether the picks are equal, for k-center but for ties and rounding; else the share that both have."""
    if np.array_equal(ours, theirs):
        return "equal"
    if strategy == "kcenter" and greedy_loss(points, ours) <= EXACT:
        loss = greedy_loss(points, theirs)
        if loss <= ROUNDED:
            return f"equal but for ties within {max(loss, EXACT):.1g}"
    return f"{len(np.intersect1d(ours, theirs)) / len(ours):.3f} in common"
