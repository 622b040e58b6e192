"""What chooses pools in the benchmarks: ours, the peers, and plain loops.

Each takes points (n, d) of length 1, float32, a budget and whatever it has to agree on with ours. It brings the points
into the form that it needs, which is not timed, and gives the function that is, which returns the picks in order.
"""

from __future__ import annotations

import warnings
from functools import partial
from importlib.metadata import PackageNotFoundError, version

import numpy as np


def ours(points, budget, strategy, knobs):
    """As a user calls it: embeddings are checked and scaled to length 1 within."""
    from initpools_cli import select

    return lambda: select(points, strategy, budget, **knobs)


def numpy_kcenter(points, budget):
    """One product of the matrix and the newest pick after the other; ours starts at the image nearest the mean too."""

    def run():
        norms = np.einsum("ij,ij->i", points, points)
        pick = int((norms - 2 * (points @ points.mean(axis=0))).argmin())
        picks, nearest = np.empty(budget, np.int64), np.full(len(points), np.inf, np.float32)
        for place in range(budget):
            picks[place] = pick
            np.minimum(nearest, norms - 2 * (points @ points[pick]) + norms[pick], out=nearest)
            nearest[pick] = -np.inf
            pick = int(nearest.argmax())
        return picks

    return run


def torch_kcenter(points, budget):
    import torch

    tensor = torch.from_numpy(points)

    def run():
        norms = (tensor * tensor).sum(dim=1)
        pick = int((norms - 2 * (tensor @ tensor.mean(dim=0))).argmin())
        picks, nearest = torch.empty(budget, dtype=torch.int64), torch.full((len(tensor),), torch.inf)
        for place in range(budget):
            picks[place] = pick
            torch.minimum(nearest, norms - 2 * (tensor @ tensor[pick]) + norms[pick], out=nearest)
            nearest[pick] = -torch.inf
            pick = int(nearest.argmax())
        return picks.numpy()

    return run


def torch_activeft(points, budget):
    """The loss with automatic differentiation and Adam, at ours' defaults, from other random images."""
    import torch

    tensor = torch.from_numpy(points)

    def run():
        start = torch.randperm(len(tensor), generator=torch.Generator().manual_seed(0))[:budget]
        moving = tensor[start].clone().requires_grad_()
        adam = torch.optim.Adam([moving], lr=1e-3)
        for _ in range(300):
            unit = torch.nn.functional.normalize(moving, dim=1)
            like, own = (tensor @ unit.T / 0.07).max(dim=1)
            apart = (unit @ unit.detach().T / 0.07).logsumexp(dim=1)
            loss = (torch.logaddexp(like, apart[own]) - like).mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
        return nearest_unused(tensor @ moving.detach().T).numpy()

    return run


def nearest_unused(likeness):
    """For each column in turn the row with the largest entry that none before took."""
    import torch

    picks = torch.empty(likeness.shape[1], dtype=torch.int64)
    for place, column in enumerate(likeness.T):
        column[picks[:place]] = -torch.inf
        picks[place] = column.argmax()
    return picks


def mundig_kcenter(points, budget):
    """lightly-mundig's diversity, which starts where ours does; it reads lists fastest."""
    from lightly_mundig import Selection

    first, rows = int(((points - points.mean(axis=0)) ** 2).sum(axis=1).argmin()), points.tolist()

    def run():
        selection = Selection()
        selection.add_diversifying_strategy(embeddings=rows, strength=1.0)
        picks = selection.run_selection(
            preselected_indices=[first], n_total_samples=len(rows), n_samples_to_select=budget
        )
        return np.array(picks)

    return run


def mundig_typicality(points, budget):
    """lightly-mundig's typicality over 20 neighbors, another decreasing function of their mean distance than ours."""
    from lightly_mundig import Typicality

    rows = points.tolist()
    return lambda: np.argsort(-np.array(Typicality(rows).calculate_typicality(20)), kind="stable")[:budget]


def activeml(points, budget, name, **options):
    """A strategy of scikit-activeml with nothing labeled."""
    from skactiveml import pool

    unlabeled = np.full(len(points), np.nan)

    def run():
        strategy = getattr(pool, name)(random_state=0, **options)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return strategy.query(points, unlabeled, batch_size=budget)

    return run


def apricot_facility_location(points, budget):
    """Its similarity max(d²) − d² is ours times 4 plus a constant for points of length 1, which leaves the picks alike.

    Its lazy optimizer is the faster one. It compiles itself at every call, which is its cost.
    """
    from apricot import FacilityLocationSelection

    return lambda: FacilityLocationSelection(budget, metric="euclidean", optimizer="lazy").fit(points).ranking


def apricot_graph_cut(points, budget):
    """Constants matter here, so that it is given our similarity, made as part of what is timed."""
    from apricot import GraphCutSelection

    def run():
        similar = (1 + np.clip(points.astype(np.float64) @ points.T.astype(np.float64), -1, 1)) / 2
        return GraphCutSelection(budget, metric="precomputed").fit(similar).ranking

    return run


def sklearn_kmeans(points, budget):
    """Its k-means, once, and the unused image nearest each center."""
    from sklearn.cluster import KMeans

    def run():
        import torch

        centers = KMeans(budget, n_init=1, random_state=0).fit(points).cluster_centers_
        near = points @ centers.T - (centers**2).sum(axis=1) / 2
        return nearest_unused(torch.from_numpy(near)).numpy()

    return run


def minibatch_kmeans(points, budget):
    """scikit-learn's k-means on batches of 10,000 images, and the image nearest each center."""
    from sklearn.cluster import MiniBatchKMeans

    def run():
        centers = MiniBatchKMeans(budget, batch_size=10_000, n_init=1, random_state=0).fit(points).cluster_centers_
        return nearest_images(points, centers)

    return run


def faiss_kmeans(points, budget):
    """faiss's k-means, which by default trains on 256 images for each cluster, and the image nearest each center."""
    import faiss

    def run():
        clustering = faiss.Kmeans(points.shape[1], budget, seed=0)
        clustering.train(points)
        return nearest_images(points, clustering.centroids)

    return run


def nearest_images(points, centers):
    """The image nearest each center, (k,), by faiss."""
    import faiss

    nearest, similar = np.zeros(len(centers), np.int64), np.full(len(centers), np.inf, np.float32)
    for start in range(0, len(points), 2**16):
        distances, rows = faiss.knn(centers.astype(np.float32), points[start : start + 2**16], 1)
        closer = distances[:, 0] < similar
        nearest[closer], similar[closer] = start + rows[closer, 0], distances[closer, 0]
    return nearest


def sklearn_kmeanspp(points, budget):
    """One trial a draw, as ours; its default draws several and keeps the best."""
    from sklearn.cluster import kmeans_plusplus

    return lambda: kmeans_plusplus(points, budget, random_state=0, n_local_trials=1)[1]


#: Peers that were tried with few images only: two hold all pairs of images, or Python lists of all rows, in memory.
FOR_FEW_IMAGES = {
    "lightly-mundig, k-center": mundig_kcenter,
    "scikit-activeml, TypiClust": partial(activeml, name="TypiClust", k=20),
    "apricot, facility location": apricot_facility_location,
}
#: All peers that choose from the same embeddings.
PEERS = {"faiss, k-means": faiss_kmeans, "scikit-learn, MiniBatchKMeans": minibatch_kmeans, **FOR_FEW_IMAGES}


def release(distribution):
    """Its version; "" where it is not installed, or there is none."""
    try:
        return version(distribution) if distribution else ""
    except PackageNotFoundError:
        return ""
