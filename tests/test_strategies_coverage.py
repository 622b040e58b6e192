"""Strategies that cover, against plain definitions with all n × n pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain import crowds, go_on, pairwise, pick

from initpools_cli.core.errors import UserError
from initpools_cli.core.seeds import generator
from initpools_cli.geometry.farthest_first import nearest_to_mean
from initpools_cli.geometry.kmeans import kmeans
from initpools_cli.geometry.normalize import unit_rows
from initpools_cli.strategies.activeft import loss_and_slope
from initpools_cli.strategies.probcover import pure_radius
from initpools_cli.strategies.select import choose
from initpools_cli.strategies.zcore import distinct, triangular, zcore
from initpools_cli.testing import cloud

quick = settings(max_examples=50, deadline=None)


def plain_cover(points, labeled, budget, delta):
    near = pairwise(points) < delta * delta
    covered = near[labeled].any(axis=0)
    picks = []
    while len(picks) < budget and not covered.all():
        picks.append(int((near & ~covered).sum(axis=1).argmax()))
        covered |= near[picks[-1]]
    return go_on(points, labeled, picks, budget)


@quick
@given(crowds(), st.sampled_from([1.0, 1.5, 2.0, 3.1]))
def test_probcover_equals_its_plain_definition(case, delta):
    points, labeled, budget = case
    squared = pairwise(points)
    middle = squared[nearest_to_mean(points)]
    if (squared < delta * delta).sum() == len(points) or (middle < delta * delta).all():
        with pytest.raises(UserError, match=f"delta={delta:g} is too (small|large)"):
            pick("probcover", {"embeddings": points}, labeled, budget, delta=delta)
        return
    selection = pick("probcover", {"embeddings": points}, labeled, budget, delta=delta)
    assert selection.indices.tolist() == plain_cover(points, labeled, budget, delta)


def test_probcover_says_which_delta_makes_sense():
    points = np.array([[0.0], [1.0], [3.0], [7.0]])
    for delta, fact in (
        (1.0, "small: no two of the 4 images are closer"),
        (100.0, "large: one ball covers all 4 images"),
    ):
        with pytest.raises(UserError, match=f"delta={delta:g} is too {fact}") as error:
            pick("probcover", {"embeddings": points}, [], 2, delta=delta)
        assert "1 to 4 apart, with median 1.5: set delta between the median and 4" in error.value.remedy


@pytest.mark.parametrize("name", ["probcover", "dcom"])
def test_a_delta_is_judged_by_all_images_not_by_a_cluster(name):
    points = np.array([[0.0], [1.0], [3.0], [9.0], [9.1]])
    inputs = {"embeddings": points, "clusters": np.array([0, 0, 0, 1, 1])}
    selection = choose(name, inputs, 4, normalize=False, balance="clusters", knobs={"delta": 0.5})
    assert sorted(selection.clusters.tolist()) == [0, 0, 1, 1]


@pytest.mark.parametrize("name", ["maxherding", "uherding"])
def test_a_bandwidth_that_leaves_no_numbers_is_refused(name):
    with pytest.raises(UserError, match="bandwidth=1e-30 is too small"):
        pick(name, {"embeddings": np.eye(4, dtype=np.float32)}, [], 2, bandwidth=1e-30)


@pytest.mark.parametrize("alpha", [0.5, 0.95, 1.0])
def test_the_automatic_delta_is_the_largest_with_pure_balls(alpha):
    points = np.random.default_rng(0).normal(size=(120, 3)).astype(np.float32)
    delta = pure_radius(points, 6, alpha, np.random.default_rng(1))
    labels = kmeans(points, 6, np.random.default_rng(1)).labels
    stranger = labels[:, None] != labels

    def purity(radius):
        return 1 - (stranger & (pairwise(points) < radius**2)).any(axis=1).mean()

    assert purity(delta * (1 - 1e-9)) >= alpha - 1e-12
    assert purity(delta * (1 + 1e-9)) < alpha


KERNELS = {
    "rbf": lambda t: np.exp(-(t**2)),
    "tophat": lambda t: (t < 1) * 1.0,
    "student": lambda t: (1 + 2 * t**2) ** -0.75,
    "laplace": lambda t: np.exp(-t),
}


def plain_represent(points, similar, labeled, budget):
    held = similar[labeled].max(axis=0, initial=0)
    picks = []
    while len(picks) < budget:
        gains = np.maximum(similar - held, 0).sum(axis=1)
        gains[labeled + picks] = -np.inf
        if gains.max() <= 1e-6:
            break
        picks.append(int(np.flatnonzero(gains >= gains.max() - 1e-6)[0]))
        held = np.maximum(held, similar[picks[-1]])
    return go_on(points, labeled, picks, budget)


@quick
@given(crowds(), st.sampled_from(sorted(KERNELS)), st.sampled_from([0.6, 1.0, 2.0]))
def test_maxherding_equals_its_plain_definition(case, kernel, bandwidth):
    points, labeled, budget = case
    selection = pick("maxherding", {"embeddings": points}, labeled, budget, kernel=kernel, bandwidth=bandwidth)
    similar = KERNELS[kernel](np.sqrt(pairwise(points)) / bandwidth)
    assert selection.indices.tolist() == plain_represent(points, similar, labeled, budget)


@quick
@given(crowds(), st.sampled_from([0.01, 1.0, 2.0, 30.0, 1000.0]))
def test_beta_is_the_degrees_of_freedom_of_student(case, beta):
    points, labeled, budget = case
    selection = pick("maxherding", {"embeddings": points}, labeled, budget, kernel="student", beta=beta)
    similar = (1 + pairwise(points) / beta) ** (-(beta + 1) / 2)
    assert selection.indices.tolist() == plain_represent(points, similar, labeled, budget)


@pytest.mark.parametrize("kernel", ["rbf", "tophat", "laplace"])
def test_beta_is_refused_where_the_kernel_has_none(kernel):
    with pytest.raises(UserError, match=f"beta=1 has no effect with kernel={kernel}"):
        pick("maxherding", {"embeddings": np.eye(3)}, [], 1, kernel=kernel, beta=1.0)


@pytest.mark.parametrize("delta", [0.3, 1.0, 2.5, 3.5])
def test_maxherding_with_a_top_hat_is_probcover(delta):
    points = np.random.default_rng(0).normal(size=(400, 3)).astype(np.float32)
    points[100:200] = np.round(points[100:200])
    cover = pick("probcover", {"embeddings": points}, [3, 50], 200, delta=delta)
    herding = pick("maxherding", {"embeddings": points}, [3, 50], 200, kernel="tophat", bandwidth=delta)
    np.testing.assert_array_equal(cover.indices, herding.indices)
    np.testing.assert_allclose(cover.scores, 400 * herding.scores)


def plain_similarity(points, name, bandwidth):
    if name == "rbf":
        return np.exp(-pairwise(points) / bandwidth**2)
    points = points.astype(np.float64)
    lengths = np.linalg.norm(points, axis=1)
    products = points @ points.T
    scale = lengths[:, None] * lengths
    return (1 + np.divide(products, scale, out=np.zeros_like(products), where=scale > 0)) / 2


@quick
@given(crowds(), st.sampled_from(["cosine", "rbf"]))
def test_facility_location_equals_its_plain_definition(case, name):
    points, labeled, budget = case
    selection = pick("facility-location", {"embeddings": points}, labeled, budget, similarity=name, bandwidth=1.3)
    similar = plain_similarity(points, name, 1.3)
    assert selection.indices.tolist() == plain_represent(points, similar, labeled, budget)


@quick
@given(crowds(), st.sampled_from(["cosine", "rbf"]), st.sampled_from([0.0, 0.2, 1.0, 2.0]))
def test_graph_cut_equals_its_plain_definition(case, name, lam):
    points, labeled, budget = case
    selection = pick("graph-cut", {"embeddings": points}, labeled, budget, similarity=name, bandwidth=1.3, lam=lam)
    assert selection.indices.tolist() == plain_cut(plain_similarity(points, name, 1.3), labeled, budget, lam)


def plain_cut(similar, labeled, budget, lam):
    picks = []
    while len(picks) < budget:
        gains = lam * similar.sum(axis=1) - 2 * similar[:, labeled + picks].sum(axis=1) - np.diag(similar)
        gains[labeled + picks] = -np.inf
        picks.append(int(np.flatnonzero(gains >= gains.max() - 1e-6)[0]))
    return picks


def plain_nearby(points, name, bandwidth, neighbors):
    """The similarities to itself and where one is among the nearest of the other, ties to the lower index."""
    squared = pairwise(unit_rows(points) if name == "cosine" else points)
    np.fill_diagonal(squared, -1)
    near = np.zeros(squared.shape, bool)
    np.put_along_axis(near, np.argsort(squared, axis=1, kind="stable")[:, : neighbors + 1], True, axis=1)
    return np.where(near | near.T, plain_similarity(points, name, bandwidth), 0)


@quick
@given(crowds(), st.sampled_from(["cosine", "rbf"]), st.integers(1, 6))
def test_facility_location_among_neighbors_equals_its_plain_definition(case, name, neighbors):
    points, labeled, budget = case
    knobs = {"similarity": name, "bandwidth": 1.3, "neighbors": neighbors}
    selection = pick("facility-location", {"embeddings": points}, labeled, budget, **knobs)
    similar = plain_nearby(points, name, 1.3, neighbors)
    assert selection.indices.tolist() == plain_represent(points, similar, labeled, budget)


@quick
@given(crowds(), st.sampled_from(["cosine", "rbf"]), st.sampled_from([0.2, 1.0]), st.integers(1, 6))
def test_graph_cut_among_neighbors_equals_its_plain_definition(case, name, lam, neighbors):
    points, labeled, budget = case
    knobs = {"similarity": name, "bandwidth": 1.3, "neighbors": neighbors, "lam": lam}
    selection = pick("graph-cut", {"embeddings": points}, labeled, budget, **knobs)
    assert selection.indices.tolist() == plain_cut(plain_nearby(points, name, 1.3, neighbors), labeled, budget, lam)


def test_activeft_equals_its_loss_under_torch_and_adam():
    import torch
    from torch.nn import functional

    rng = np.random.default_rng(0)
    points = rng.normal(size=(200, 6)).astype(np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    z = torch.from_numpy(points).double()
    moving = z[torch.from_numpy(generator(3, "activeft").permutation(200)[:9])].clone().requires_grad_()
    adam = torch.optim.Adam([moving], lr=0.01)
    for _ in range(80):
        centers = functional.normalize(moving, dim=1)
        similar, own = (z @ centers.T / 0.07).max(dim=1)
        apart = (centers.detach() @ centers.T / 0.07).exp().sum(dim=0)
        loss = -(similar - (similar.exp() + apart[own]).log()).mean()
        ours, slope = loss_and_slope(points, centers.detach().numpy(), 0.07, 1.0)
        assert ours == pytest.approx(loss.item(), rel=1e-9)
        (expected,) = torch.autograd.grad(loss, centers, retain_graph=True)
        np.testing.assert_allclose(slope, expected.numpy(), atol=1e-9)
        adam.zero_grad()
        loss.backward()
        adam.step()
    cosines = (functional.normalize(moving.detach(), dim=1) @ z.T).numpy()
    picks = []
    for row in cosines:
        row[picks] = -2
        picks.append(int(row.argmax()))
    knobs = {"lr": 0.01, "iterations": 80}
    selection = choose("activeft", {"embeddings": points}, 9, seed=3, knobs=knobs)
    assert selection.indices.tolist() == picks


def test_activeft_leaves_what_is_labeled_more_often_than_chance():
    points = np.repeat(np.eye(3), 20, axis=0) + 0.05 * np.random.default_rng(0).normal(size=(60, 3))

    def picked_there(labeled):
        picks = [choose("activeft", {"embeddings": points}, 2, labeled=labeled, seed=s, knobs=knobs) for s in range(15)]
        return sum(int((selection.indices < 20).sum()) for selection in picks)

    knobs = {"lr": 0.05, "iterations": 100}
    assert picked_there([0, 1, 2]) < picked_there([])


@quick
@given(crowds(), st.sampled_from([1, 2, 3, 1000]), st.sampled_from([1, 2, 9]), st.sampled_from([1, 7, 2**17]))
def test_zcore_equals_its_plain_definition(case, neighbors, sample_dim, held):
    points, labeled, budget = case
    n, d = points.shape
    knobs = {"n_samples": 60, "neighbors": neighbors, "sample_dim": sample_dim}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("initpools_cli.strategies.zcore.BLOCK", held)
        selection = zcore(points, np.array(labeled, int), budget, generator(2, "zcore"), **knobs)
    rng = generator(2, "zcore")
    scores = rng.random(n)
    dims = distinct(rng, 60, d, min(sample_dim, d))
    exact = points.astype(np.float64)
    low, middle, high = (value[dims] for value in (exact.min(axis=0), np.median(exact, axis=0), exact.max(axis=0)))
    places = triangular(low, middle, high, rng.random(dims.shape)).astype(np.float32)
    for row, place in zip(dims, places, strict=True):
        best = int(sum_of_gaps(points[:, row], place).argmin())
        scores[best] += 1
        gaps = sum_of_gaps(points[:, row], points[best, row])
        others = sorted((i for i in range(n) if i != best), key=lambda i: (gaps[i], i))[:neighbors]
        if gaps[others[0]] == 0:
            scores[others[0]] -= 1
        else:
            penalty = gaps[others].astype(np.float64) ** -4.0
            scores[others] -= penalty / penalty.sum()
    # Each of 60 places gives an image a share of at most 1, which about eight roundings to float32 make.
    rounding = 60 * 8 * 2.0**-24
    np.testing.assert_allclose(selection.scores, scores[selection.indices], rtol=0, atol=rounding)
    best = np.sort(np.delete(scores, labeled))[::-1][:budget]
    np.testing.assert_allclose(selection.scores, best, rtol=0, atol=rounding)


def sum_of_gaps(points, target):
    """L1 in float32, one dimension after the other."""
    total = np.zeros(len(points), np.float32)
    for column, value in zip(points.T, target, strict=True):
        total += np.abs(column - value)
    return total


@pytest.mark.slow
def test_two_seeds_of_zcore_agree_after_the_million_draws_of_the_paper():
    points, few = cloud(100, 8), {"n_samples": 1000}

    def scores(seed, **knobs):
        selection = choose("zcore", {"embeddings": points}, 100, seed=seed, knobs=knobs)
        return selection.scores[np.argsort(selection.indices)]

    def agreement(**knobs):
        one, two = (scores(seed, **knobs).argsort().argsort() for seed in (0, 1))
        return float(np.corrcoef(one, two)[0, 1])

    assert agreement() > 0.95
    assert agreement(**few) < 0.5


def test_zcore_draws_every_set_of_dimensions_equally_often():
    drawn = distinct(np.random.default_rng(0), 12_000, 4, 3)
    assert (np.diff(np.sort(drawn, axis=1), axis=1) > 0).all() and drawn.min() == 0 and drawn.max() == 3
    counts = np.unique(drawn, axis=0, return_counts=True)[1]
    assert len(counts) == 24 and np.abs(counts - 500).max() < 100


def test_triangular_draws_have_the_triangular_distribution():
    from scipy.stats import kstest, triang

    uniform = np.random.default_rng(0).random(4000)
    for middle in (-1.0, 0.5, 3.0):
        drawn = triangular(np.array(-1.0), np.array(middle), np.array(3.0), uniform)
        assert kstest(drawn, triang((middle + 1) / 4, -1, 4).cdf).pvalue > 0.01
    assert (triangular(np.array(2.0), np.array(2.0), np.array(2.0), uniform) == 2).all()


@quick
@given(crowds(), st.sampled_from([1, 3, 400]), st.sampled_from([0.5, 5.0]), st.sampled_from([0.5, 1.0]))
def test_usl_equals_its_plain_definition(case, neighbors, weight, alpha):
    points, labeled, budget = case
    n = len(points)
    # Apart, as the ties of a grid are broken by rounding.
    points = points + np.random.default_rng(5).normal(size=points.shape).astype(np.float32)
    knobs = {"neighbors": neighbors, "weight": weight, "alpha": alpha, "iterations": 4}
    selection = choose("usl", {"embeddings": points}, budget, labeled=labeled, normalize=False, seed=4, knobs=knobs)
    clusters = kmeans(points, budget, generator(4, "usl")).labels
    squared = pairwise(points)
    others = max(1, min(neighbors - 1, n // 2))
    density = 1 / np.maximum(np.sort(squared, axis=1)[:, : others + 1].mean(axis=1), 1e-12)
    near = np.zeros(n)
    for iteration in range(4):
        value = density - weight * near
        queues = [
            sorted((i for i in range(n) if clusters[i] == c and i not in labeled), key=lambda i: (-value[i], i))
            for c in range(budget)
        ]
        sources = [(queue[0], c) for c, queue in enumerate(queues) if queue] + [(i, -1) for i in labeled]
        new = np.zeros(n)
        for i in range(n):
            for source, owner in sources:
                if owner != clusters[i] and squared[i, source] < 4:
                    new[i] += max(squared[i, source], 1e-12) ** -alpha
        if iteration < 3:
            near = 0.9 * near + 0.1 * new
    picks = []
    while len(picks) < budget:
        picks += [queue.pop(0) for queue in queues if queue]
    assert selection.indices.tolist() == picks[:budget]
    np.testing.assert_allclose(selection.scores, value[picks[:budget]], rtol=1e-6, atol=1e-6)


def test_usl_keeps_picks_of_neighboring_clusters_apart():
    points = np.random.default_rng(0).normal(size=(300, 2))
    inputs = {"embeddings": points}

    def smallest_gap(weight):
        picks = choose("usl", inputs, 12, normalize=False, knobs={"weight": weight, "neighbors": 20}).indices
        return np.sort(pairwise(points[picks]), axis=1)[:, 1].min()

    assert smallest_gap(0.0) < smallest_gap(5.0)
