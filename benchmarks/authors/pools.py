"""First pools beside the authors' code: no model."""

from __future__ import annotations

import argparse
import functools
import random
from unittest import mock

import numpy as np

from authors.shims import NOTHING, ResultRow, Settings, choose, compares, same_picks, source, stub
from initpools_cli.core.seeds import generator
from initpools_cli.geometry.kmeans import kmeans
from initpools_cli.networks.attention import most_attended
from initpools_cli.strategies.activeft import unlabeled_rows
from initpools_cli.strategies.freesel import centers
from initpools_cli.strategies.hierarchical_kmeans import cluster_levels
from initpools_cli.strategies.probcover import pure_radius
from initpools_cli.strategies.zcore import distinct, triangular

#: Sampled points of `zcore`.
ZCORE_SAMPLES = 20_000


def pycls(points, **settings):
    """Settings and modules that the code of TypiClust, and what is built on it, imports."""
    cfg = Settings(DATASET={"NAME": "CIFAR10"}, RNG_SEED=1)
    cfg["ACTIVE_LEARNING"] = Settings(UNC_FEATURE="simclr", FEATURE="simclr", **settings)
    features = stub("pycls.datasets.utils", load_features=lambda *words, **options: points)
    datasets = stub("pycls.datasets", utils=features)
    modules = {
        "pycls": stub("pycls", datasets=datasets),
        "pycls.datasets": datasets,
        "pycls.datasets.utils": features,
        "pycls.utils": stub("pycls.utils"),
        "pycls.utils.metrics": stub("pycls.utils.metrics", compute_coverage=lambda *words: 0.0),
        "pycls.utils.io": stub("pycls.utils.io", compute_cand_size=lambda labeled, budget, *most: len(points)),
    }
    return cfg, modules


@compares("typiclust", "TypiClust")
def typiclust(folder, inputs):
    """From the same clusters."""
    points = inputs.points
    cfg, modules = pycls(points)
    theirs = source(folder / "deep-al/pycls/al/typiclust.py", "typiclust", **modules)
    for budget in (10, 100):
        theirs.kmeans = lambda rows, num_clusters: kmeans(rows, num_clusters, generator(0, "clusters")).labels
        their_picks = theirs.TypiClust(cfg, NOTHING, np.arange(len(points)), budget).select_samples()[0]
        own = choose("typiclust", points, NOTHING, budget, seed="clusters", distance="l2sq")
        yield same_picks("typiclust", own.indices, their_picks, **inputs.about)


@compares("probcover", "TypiClust")
def probcover(folder, inputs):
    """With the same radius."""
    points = inputs.points
    cfg, modules = pycls(points)
    theirs = source(folder / "deep-al/pycls/al/prob_cover.py", "prob_cover", **modules)
    # Rounded, since a radius that is a distance between two images is in reach of one of them by rounding alone.
    delta = round(pure_radius(points, 10, 0.95, generator(0, "radius")), 3)
    their_picks = theirs.ProbCover(cfg, NOTHING, np.arange(len(points)), 100, delta).select_samples()[0]
    own = choose("probcover", points, NOTHING, 100, seed="cover", delta=delta)
    yield same_picks("probcover", own.indices, their_picks, **inputs.about)


@compares("maxherding", "uherding")
def maxherding(folder, inputs):
    points, every = inputs.points, np.arange(len(inputs.points))
    cfg, modules = pycls(points)
    theirs = source(folder / "deep-al/pycls/al/herding.py", "herding", **modules)
    for kernel, name in (("RBFKernel", "rbf"), ("StudentTKernel", "student")):
        # The device is written in their code.
        kernel_fn = getattr(theirs, kernel)("cpu")
        with mock.patch.object(
            theirs.Herding,
            "construct_kernel_fn",
            lambda self, kernel_fn=kernel_fn, **words: kernel_fn,
        ):
            words = (cfg, NOTHING, every, 100, 1.0, None)
            their_picks = theirs.Herding(*words, dataset=every, device="cpu", permute=False).select_samples()[0]
        own = choose("maxherding", points, NOTHING, 100, seed="kernel", kernel=name)
        yield same_picks(f"maxherding, kernel={name}", own.indices, their_picks, **inputs.about)


@compares("activeft", "ActiveFT")
def activeft(folder, inputs):
    """From the same first centers; their picks have no order."""
    import torch

    small = inputs.small
    assert small is not None, "activeft is compared on the embeddings of SimCLR"
    utils = stub("utils", get_distance=None, farthest_distance_sample=None)
    theirs = source(folder / "data_selection/sample_tools/ActiveFT_CIFAR.py", "active_ft", utils=utils)
    options = argparse.Namespace(
        temperature=0.07, init="random", distance="euclidean", balance=1.0, lr=0.001, scheduler="none", max_iter=300
    )
    start = generator(0, "start").permutation(unlabeled_rows(len(small), NOTHING))[:50].tolist()
    with mock.patch.object(random, "sample", lambda ids, count: start):
        their_picks = theirs.optimize_dist(torch.from_numpy(small), 50, options)
    torch.autograd.set_detect_anomaly(False)
    own = choose("activeft", small, NOTHING, 50, seed="start")
    about = {"data": f"{inputs.name}, {len(small)} images", "encoder": "simclr"}
    yield same_picks("activeft", own.indices, their_picks, ordered=False, **about)


class LazyDistances:
    """Squared distances as pykeops computes them on a GPU, for as much as the authors' code of `usl` uses."""

    def __init__(self, rows):
        self.rows = rows

    def __sub__(self, other):
        return LazyDistances((self.rows[:, 0], other.rows[0]))

    def __pow__(self, _):
        return self

    def sum(self, _):
        return self

    def Kmin_argKmin(self, k, dim, backend):
        import torch

        sq_distances = torch.from_numpy(sum_of_squares(*(each.double().numpy() for each in self.rows)))
        return torch.topk(sq_distances, k, dim=dim, largest=False)


def sum_of_squares(rows, others):
    """Squared distances of all rows to all others."""
    from scipy.spatial.distance import cdist

    return cdist(rows, others, "sqeuclidean")


@compares("usl", "UnsupervisedSelectiveLabeling")
def usl(folder, inputs):
    """From the same clusters; their picks are in order of cluster, ours in order of score."""
    import torch

    inputs = inputs.part(1000)
    utils = folder / "selective_labeling/utils"
    config = stub("usl_code.config_utils", cfg=Settings(SKIP_SAVE=True), logger=mock.Mock())
    lazy = {"pykeops": stub("pykeops"), "pykeops.torch": stub("pykeops.torch", LazyTensor=LazyDistances)}
    augment = stub("usl_code.augment", Augment=None, Cutout=None)
    views = stub("usl_code.uslt_utils", LocalGlobalDataset=None)
    modules = {"usl_code": stub("usl_code"), "usl_code.config_utils": config, "usl_code.augment": augment, **lazy}
    modules["usl_code.uslt_utils"] = views
    networks = source(utils / "nn_utils.py", "usl_code.nn_utils", **modules)
    modules["usl_code.nn_utils"] = networks
    selection_module = source(utils / "nn_utils_cifar.py", "usl_code.nn_utils_cifar", **modules)
    points = torch.from_numpy(inputs.points)
    gaps, _ = networks.partitioned_kNN(points, K=400, recompute=True)
    for budget in (40, 100):
        clusters = torch.from_numpy(kmeans(inputs.points, budget, generator(0, "clusters")).labels)
        their_picks = selection_module.get_selection_with_reg(
            points, gaps.mean(dim=1), clusters, budget, budget, iters=10, w=0.5, momentum=0.9, horizon_dist=4, alpha=0.5
        )
        own = choose("usl", inputs.points, NOTHING, budget, seed="clusters")
        yield same_picks("usl", own.indices, their_picks, ordered=False, **inputs.about)


@compares("freesel", "FreeSel")
def freesel(folder, inputs):
    """With the same tokens, attention and k-means, from image 0; farthest patterns, since draws differ."""
    import torch

    rng = generator(0, "patches")
    tokens = rng.normal(size=(300, 49, 16)).astype(np.float32) + rng.normal(size=(300, 1, 16)).astype(np.float32)
    attention = torch.from_numpy(rng.dirichlet(np.full(49, 0.2), 300))
    kept = np.where(most_attended(attention, 0.5).numpy()[:, :, None], tokens, 0)
    code = folder / "data_selection"
    utils = source(code / "utils.py", "freesel_utils")
    modules = {name: stub(name) for name in ("cv2", "torchextractor", "vision_transformer")}
    modules |= {"utils": utils, "dataset": stub("dataset", VOCReturnIndexDataset=None)}
    modules["kmeans_pytorch"] = stub(
        "kmeans_pytorch",
        kmeans=lambda X, num_clusters, **_: (None, torch.from_numpy(centers(X[None].numpy(), num_clusters)[0][0])),
    )
    theirs = source(code / "voc_dense_kmeans.py", "freesel_voc", **modules)
    cosine = functools.partial(utils.get_distance, type="cosine")
    for patterns in (1, 5):
        settings = argparse.Namespace(
            arch="vit_small", threshold=0.5, centroid_num=patterns, kmeans_dist_type="euclidean"
        )
        features, _ = theirs.filter_features(torch.from_numpy(tokens), settings, attention)
        merged, _, of_images = theirs.merge_features(dict(enumerate(features)))
        their_picks = utils.farthest_distance_sample_dense(merged, of_images, 101, cosine, init_ids=[0])[1:]
        own = choose("freesel", kept, np.array([0]), 100, seed="draws", patterns=patterns, sampling="farthest")
        yield same_picks(
            f"freesel, patterns={patterns}", own.indices, their_picks, data="300 images of 49 random patches"
        )


@compares("zcore", "zcore")
def zcore(folder, inputs):
    """With the same sampled points; fewer than the paper's million."""
    inputs = inputs.part(1000)
    points = inputs.points
    theirs = source(folder / "core/coreset/zcore.py", "zcore")
    rng = generator(0, "zcore")
    scores = rng.random((len(points),))
    dims = distinct(rng, ZCORE_SAMPLES, points.shape[1], 2)
    uniform = iter(rng.random(dims.shape))
    next_dims = iter(dims)
    settings = argparse.Namespace(dataset="", trial=0, sample_dim=2, redund_nn=1000, redund_exp=4)
    theirs.init_worker(points)
    with (
        mock.patch.object(np.random, "choice", lambda *words, **options: next(next_dims)),
        mock.patch.object(np.random, "triangular", lambda *ends: triangular(*map(np.float64, ends), next(uniform))),
    ):
        scores += theirs.sample_score(settings, theirs.embedding_preprocess(points), ZCORE_SAMPLES)
    own = choose("zcore", points, NOTHING, 100, seed="zcore", n_samples=ZCORE_SAMPLES)
    yield same_picks("zcore", own.indices, np.argsort(-scores, kind="stable")[:100], **inputs.about)


def hardness(inputs):
    """Scores of images for `ccs` and `d2-pruning`: the margin, as float32."""
    sorted_probs = np.sort(inputs.probs, axis=1)
    return (1 - sorted_probs[:, -1] + sorted_probs[:, -2]).astype(np.float32)


@compares("hierarchical-kmeans", "ssl-data-curation")
def hierarchical_kmeans(folder, inputs):
    """Numbers of picks of the lowest clusters of our tree; what is left goes to the first of them, in theirs to any."""
    clusters = source(folder / "src/clusters.py", "src.clusters")
    theirs = source(
        folder / "src/hierarchical_sampling.py", "sampling", **{"src": stub("src"), "src.clusters": clusters}
    )
    sizes = [200, 20]
    tree = cluster_levels(inputs.points, sizes, generator(0, "tree"), 10)
    lowest, parents = tree[0], tree[1][np.unique(tree[0], return_index=True)[1]]
    levels = [{"clusters": members(lowest)}, {"clusters": members(parents)}]
    hierarchy = clusters.HierarchicalCluster.from_dict(levels)
    for budget in (50, 300):
        with mock.patch.object(theirs.np.random, "choice", lambda rows, count, replace: rows[:count]):
            picks = theirs.hierarchical_sampling(hierarchy, budget)
        own = choose("hierarchical-kmeans", inputs.points, NOTHING, budget, seed="tree", n_clusters=sizes[0])
        ours, others = (np.bincount(lowest[rows], minlength=lowest.max() + 1) for rows in (own.indices, picks))
        yield same_counts("hierarchical-kmeans", ours, others, **inputs.about)


def members(labels):
    """The rows of each cluster."""
    return [np.flatnonzero(labels == cluster) for cluster in range(labels.max() + 1)]


@compares("d2-pruning", "d2pruning")
def d2_pruning(folder, inputs):
    """With the settings for CIFAR-10; their picks have no order."""
    import torch

    inputs = inputs.part(1000)
    scores = hardness(inputs)
    scores -= scores.min()
    theirs = source(folder / "core/data/sampling.py", "sampling")
    settings = argparse.Namespace(
        graph_mode="sum",
        graph_sampling_mode="weighted",
        precomputed_dists=None,
        precomputed_neighbors=None,
        n_neighbor=5,
    )
    graph = theirs.GraphDensitySampler(
        inputs.points, None, 0, gamma=0.1, importance_scores=torch.from_numpy(scores), args=settings
    )
    own = choose("d2-pruning", inputs.points, scores.astype(np.float64), NOTHING, 100, seed="graph")
    yield same_picks("d2-pruning", own.indices, graph.select_batch_(100), ordered=False, **inputs.about)


@compares("ccs", "Coverage-centric-coreset-selection")
def ccs(folder, inputs):
    """Numbers of picks by stratum; which images of a stratum are picked is random in both."""
    import torch

    scores = hardness(inputs).astype(np.float64)
    theirs = source(folder / "core/data/Coreset.py", "ccs").CoresetSelection
    every = {"score": torch.from_numpy(scores.copy()), "mask": torch.from_numpy(scores.copy())}
    strata_scores, easy = theirs.mislabel_mask(every, "mask", int(0.3 * len(scores)), True, "score")
    their_picks = easy[theirs.stratified_sampling(strata_scores, "score", 100)[0]].numpy()
    own = choose("ccs", scores, NOTHING, 100, seed="strata")
    strata_of = strata(scores[easy.numpy()])
    ours, others = (np.bincount(strata_of(scores[picks]), minlength=50) for picks in (own.indices, their_picks))
    yield same_counts("ccs", ours, others, **inputs.about)


def strata(scores):
    """Which of the 50 strata of the kept scores a score is in."""
    edges = np.linspace(scores.min(), scores.max() * 1.0001, 51)
    return lambda values: np.clip(np.searchsorted(edges, values, side="right") - 1, 0, 49)


def same_counts(method, ours, theirs, **about):
    """The share of picks that are of the same strata."""
    value = np.minimum(ours, theirs).sum() / ours.sum()
    return ResultRow("strata", method, "", value, labels=int(ours.sum()), **about)
