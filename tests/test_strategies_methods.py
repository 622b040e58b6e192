"""What each strategy picks, against its plain definition."""

from __future__ import annotations

import inspect
import itertools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import initpools_cli
from initpools_cli.core.errors import UserError
from initpools_cli.geometry.density import most_typical, typicality
from initpools_cli.geometry.kmeans import kmeans
from initpools_cli.strategies.call import round_robin
from initpools_cli.strategies.candidates import as_rows
from initpools_cli.strategies.checks import refuse_constant
from initpools_cli.strategies.embeddings import as_embeddings
from initpools_cli.strategies.entropy import entropies
from initpools_cli.strategies.margin import margins
from initpools_cli.strategies.select import choose
from initpools_cli.testing import cloud

quick = settings(max_examples=60, deadline=None)


def plain_balance(scores, clusters, labeled, budget):
    """Best of each cluster first, cluster ids ascending, exhausted ones skipped; ties to the lower index."""
    queues = {
        c: sorted(
            (i for i in range(len(scores)) if clusters[i] == c and i not in labeled), key=lambda i: (-scores[i], i)
        )
        for c in sorted(set(clusters))
    }
    picks = []
    while len(picks) < budget:
        for queue in queues.values():
            if queue and len(picks) < budget:
                picks.append(queue.pop(0))
    return picks


@st.composite
def scored(draw):
    n = draw(st.integers(4, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    scores = rng.integers(0, draw(st.integers(2, 30)), n).astype(float)
    scores[:2] = [0, 1]
    labeled = np.flatnonzero(rng.random(n) < draw(st.sampled_from([0.0, 0.4])))[: n - 1].tolist()
    budget = draw(st.integers(1, n - len(labeled)))
    return scores, rng.integers(-2, 5, n), labeled, budget


def passes_guard(scores):
    try:
        refuse_constant(scores)
    except UserError:
        return False
    return True


@quick
@given(scored(), st.sampled_from(["highest", "lowest"]))
def test_score_takes_the_best_and_ties_go_to_the_lower_index(case, order):
    scores, _, labeled, budget = case
    if not passes_guard(scores):
        return
    selection = choose("score", {"scores": scores}, budget, labeled=labeled, knobs={"order": order})
    sign = -1 if order == "highest" else 1
    free = [i for i in range(len(scores)) if i not in labeled]
    assert selection.indices.tolist() == sorted(free, key=lambda i: (sign * scores[i], i))[:budget]
    np.testing.assert_array_equal(selection.scores, scores[selection.indices])


@quick
@given(scored())
def test_score_takes_the_middle_or_one_of_each_part(case):
    scores, _, labeled, budget = case
    if not passes_guard(scores):
        return
    free = sorted((i for i in range(len(scores)) if i not in labeled), key=lambda i: (-scores[i], i))
    middle = choose("score", {"scores": scores}, budget, labeled=labeled, knobs={"order": "middle"})
    center = (len(free) - 1) / 2
    assert middle.indices.tolist() == sorted(free, key=lambda i: abs(free.index(i) - center))[:budget]
    parts = choose("score", {"scores": scores}, budget, labeled=labeled, knobs={"order": "stratified"})
    assert parts.indices.tolist() == [free[int((k + 0.5) * len(free) / budget)] for k in range(budget)]
    np.testing.assert_array_equal(parts.scores, scores[parts.indices])


@quick
@given(scored())
def test_balanced_score_equals_its_plain_definition(case):
    scores, clusters, labeled, budget = case
    if not passes_guard(scores):
        return
    inputs = {"scores": scores, "clusters": clusters}
    selection = choose("score", inputs, budget, labeled=labeled, balance="clusters")
    assert selection.indices.tolist() == plain_balance(scores, clusters.tolist(), labeled, budget)
    np.testing.assert_array_equal(selection.clusters, clusters[selection.indices])
    np.testing.assert_array_equal(selection.scores, scores[selection.indices])


@quick
@given(st.lists(st.integers(0, 12), min_size=1, max_size=8), st.data())
def test_round_robin_equals_taking_turns(available, data):
    budget = data.draw(st.integers(0, sum(available)))
    quotas, left = [0] * len(available), budget
    while left:
        for cluster, most in enumerate(available):
            if left and quotas[cluster] < most:
                quotas[cluster] += 1
                left -= 1
    assert round_robin(np.array(available), budget).tolist() == quotas


def test_balance_by_kmeans_takes_from_every_cluster_in_turn():
    embeddings = cloud(200)
    selection = choose("random", {"embeddings": embeddings}, 14, balance="kmeans", n_clusters=7)
    assert selection.clusters.tolist() == [0, 1, 2, 3, 4, 5, 6] * 2
    assert set(choose("random", {"embeddings": embeddings}, 40, balance="kmeans").clusters) == set(range(20))


def test_random_draws_evenly():
    counts = sum(
        np.bincount(choose("random", {}, 3, n=9, labeled=[0], seed=s).indices, minlength=9) for s in range(800)
    )
    assert counts[0] == 0
    np.testing.assert_allclose(counts[1:] / 800, 3 / 8, atol=0.06)


def test_kcenter_starts_at_the_image_nearest_the_mean():
    points = np.array([[1.0], [5.0], [6.0], [11.0]])
    selection = choose("kcenter", {"embeddings": points}, 4, normalize=False)
    assert selection.indices.tolist() == [2, 0, 3, 1]
    assert selection.scores.tolist() == [np.inf, 5, 5, 1]


def test_kcenter_cosine_ignores_lengths():
    points = cloud(50)
    stretched = points * np.random.default_rng(1).uniform(1, 9, size=(50, 1))
    arguments = {"budget": 20, "labeled": [0], "normalize": False, "knobs": {"metric": "cosine"}}
    plain, long = (choose("kcenter", {"embeddings": p}, **arguments) for p in (points, stretched))
    np.testing.assert_array_equal(plain.indices, long.indices)
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    assert plain.scores[0] == pytest.approx((1 - unit @ unit[0]).max(), abs=1e-6)


def test_kmeans_takes_the_nearest_to_each_centroid():
    rng = np.random.default_rng(0)
    points = (np.repeat(np.eye(4) * 50, [40, 10, 30, 20], axis=0) + rng.normal(size=(100, 4))).astype(np.float32)
    selection = choose("kmeans", {"embeddings": points}, 4, normalize=False)
    starts = np.array([0, 40, 50, 80, 100])
    expected = []
    for start, stop in itertools.pairwise(starts):
        members = points[start:stop].astype(np.float64)
        expected.append(start + int(((members - members.mean(axis=0)) ** 2).sum(axis=1).argmin()))
    # Larger clusters first: 40, 30, 20, 10.
    assert selection.indices.tolist() == [expected[i] for i in (0, 2, 3, 1)]


def test_kmeans_random_draws_equally_and_redistributes_the_rest():
    points = (np.repeat([[0.0], [100.0], [200.0]], [3, 40, 57], axis=0) + 0.1 * cloud(100, 1)).astype(np.float32)
    knobs = {"n_clusters": 3}
    selection = choose("kmeans-random", {"embeddings": points}, 21, normalize=False, knobs=knobs)
    assert sorted(np.bincount(selection.clusters).tolist()) == [3, 9, 9]


def test_stratified_draws_in_proportion_at_every_budget():
    points = np.repeat([[0.0], [100.0], [200.0]], [50, 300, 650], axis=0) + 0.1 * cloud(1000, 1)
    group = np.repeat([0, 1, 2], [50, 300, 650])
    for budget in (20, 100, 500):
        picks = choose("stratified", {"embeddings": points}, budget, normalize=False, knobs={"n_clusters": 3}).indices
        shares = np.bincount(group[picks], minlength=3)
        np.testing.assert_allclose(shares, budget * np.array([0.05, 0.30, 0.65]), atol=1)
    labeled = np.flatnonzero(group == 1)[:100]
    knobs = {"n_clusters": 3}
    picks = choose("stratified", {"embeddings": points}, 100, labeled=labeled, normalize=False, knobs=knobs).indices
    # Of 200 labels in all, cluster 1 is owed 60 and holds 100.
    assert (group[picks] == 1).sum() == 0
    # One label in cluster 2: its quotient is 650 / 3, below the 300 of cluster 1; then 650 / 3 is the largest.
    some = {"labeled": [999], "normalize": False, "knobs": knobs}
    assert group[choose("stratified", {"embeddings": points}, 2, **some).indices].tolist() == [1, 2]


def naive_typicality(points, neighbors, power):
    m = len(points)
    squared = ((points[:, None].astype(np.float64) - points[None]) ** 2).sum(axis=-1)
    np.fill_diagonal(squared, np.inf)
    k = min(neighbors, max(1, m // 2))
    return 1 / ((np.sort(squared, axis=1)[:, :k] ** (power / 2)).mean(axis=1) + 1e-5)


@quick
@given(st.integers(2, 60), st.integers(1, 25), st.integers(0, 2**32))
def test_typicality_equals_naive(m, neighbors, seed):
    points = cloud(m, 3, seed)
    np.testing.assert_allclose(typicality(points, neighbors, "l2"), naive_typicality(points, neighbors, 1))
    np.testing.assert_allclose(typicality(points, neighbors, "l2sq"), naive_typicality(points, neighbors, 2))


def blobs(sizes, seed=0):
    points = np.repeat(np.eye(len(sizes)) * 30, sizes, axis=0)
    return (points + np.random.default_rng(seed).normal(size=points.shape)).astype(np.float32)


@quick
@given(st.integers(1, 40), st.integers(1, 4), st.integers(1, 20), st.booleans(), st.integers(0, 2**32))
@pytest.mark.parametrize("distance", ["l2", "l2sq"])
def test_the_most_typical_is_the_first_of_the_largest_typicality(distance, m, d, neighbors, offset, seed):
    rng = np.random.default_rng(seed)
    points = rng.integers(0, 3, (m, d)) if rng.random() < 0.5 else rng.normal(size=(m, d))
    points = (points + 1000 * offset).astype(np.float32)
    values = typicality(points, neighbors, distance)
    assert most_typical(points, neighbors, distance) == (values.argmax(), values.max())


def test_typiclust_takes_the_most_typical_of_the_largest_clusters_without_a_label():
    sizes = [30, 50, 40, 20]
    points = blobs(sizes)
    starts = np.cumsum([0, *sizes])
    best = [
        start + int(naive_typicality(points[start : start + size], 20, 1).argmax())
        for start, size in zip(starts, sizes, strict=False)
    ]
    inputs = {"embeddings": points}
    assert choose("typiclust", inputs, 4, normalize=False).indices.tolist() == [best[i] for i in (1, 2, 0, 3)]
    # A label in the largest cluster sends it to the end.
    labeled = [int(starts[1])]
    picks = choose("typiclust", inputs, 3, labeled=labeled, normalize=False).indices
    assert picks.tolist() == [best[i] for i in (2, 0, 3)]


def test_typiclust_goes_round_when_the_budget_exceeds_the_clusters():
    points = blobs([12, 30, 4])
    selection = choose("typiclust", {"embeddings": points}, 20, normalize=False, knobs={"max_clusters": 3})
    group = np.repeat([0, 1, 2], [12, 30, 4])[selection.indices]
    # The cluster of four comes last, the others take turns.
    assert group.tolist() == [1, 0] * 10
    everything = choose("typiclust", {"embeddings": points}, 46, normalize=False, knobs={"max_clusters": 3})
    assert set(np.repeat([0, 1, 2], [12, 30, 4])[everything.indices][-4:]) == {2}
    for cluster in set(selection.clusters):
        assert (np.diff(selection.scores[selection.clusters == cluster]) <= 0).all()


def test_file_keeps_the_order_and_skips_what_is_labeled():
    order = [4, 2, 9, 0, 7]
    assert choose("file", {"order": order}, 3, labeled=[2], n=10).indices.tolist() == [4, 9, 0]
    assert choose("file", {"order": order}, 2, exclude=[4]).indices.tolist() == [2, 9]
    with pytest.raises(UserError, match="The ranking has 5 unlabeled images, fewer than budget=6"):
        choose("file", {"order": order}, 6, n=10)
    with pytest.raises(UserError, match="The ranking has image 4 more than once"):
        choose("file", {"order": [4, 4]}, 1, n=10)
    with pytest.raises(UserError, match="The ranking has image 12, but there are 10 images"):
        choose("file", {"order": [12]}, 1, n=10)


def test_entropy_in_closed_form():
    probs = np.array([[1.0, 0, 0, 0], [0.5, 0.5, 0, 0], [0.25] * 4, [0.5, 0.25, 0.25, 0]])
    np.testing.assert_allclose(entropies(probs), np.log(2) * np.array([0, 1, 2, 1.5]), atol=1e-15)
    assert not np.signbit(entropies(probs)).any()
    assert choose("entropy", {"probs": probs}, 4).indices.tolist() == [2, 3, 1, 0]


def test_entropy_of_underflowing_probabilities_is_a_number():
    probs = np.array([[1.0, 1e-320], [1.0, 0.0], [0.6, 0.4]], np.float64)
    assert choose("entropy", {"probs": probs}, 1).indices.tolist() == [2]
    assert np.isfinite(entropies(probs)).all()


def test_margin_and_least_confidence_in_closed_form():
    probs = np.array([[0.5, 0.5, 0.0], [0.6, 0.2, 0.2], [0.45, 0.3, 0.25]])
    np.testing.assert_allclose(margins(probs), [0, 0.4, 0.15])
    margin = choose("margin", {"probs": probs}, 3)
    assert margin.indices.tolist() == [0, 2, 1]
    np.testing.assert_allclose(margin.scores, [0, -0.15, -0.4])
    confidence = choose("least-confidence", {"probs": probs}, 3)
    assert confidence.indices.tolist() == [2, 0, 1]
    np.testing.assert_allclose(confidence.scores, [0.55, 0.5, 0.4])


def test_consistency_is_the_variance_over_views():
    views = np.array([[[1.0, 0.0], [0.5, 0.5], [0.8, 0.2]], [[0.0, 1.0], [0.5, 0.5], [0.6, 0.4]]])
    selection = choose("consistency", {"view_probs": views}, 3)
    assert selection.indices.tolist() == [0, 2, 1]
    np.testing.assert_allclose(selection.scores, [0.5, 0.02, 0.0])


def test_probabilities_of_several_views_are_averaged():
    views = np.random.default_rng(0).dirichlet(np.ones(3), size=(4, 20))
    three, two = (choose("entropy", {"probs": p}, 9).indices for p in (views, views.mean(axis=0)))
    np.testing.assert_array_equal(three, two)


def test_logits_are_not_probabilities():
    with pytest.raises(UserError, match=r"row 1 sums to 3, .*softmax"):
        choose("margin", {"probs": np.array([[0.5, 0.5], [1.0, 2.0]])}, 1)
    with pytest.raises(UserError, match="negative entry"):
        choose("margin", {"probs": np.array([[1.5, -0.5]])}, 1)
    with pytest.raises(UserError, match="has 1 view, but at least 2 are needed"):
        choose("consistency", {"view_probs": np.full((1, 5, 2), 0.5)}, 1)


def test_scores_that_say_nothing_are_refused():
    rng = np.random.default_rng(0)
    rounding = rng.integers(-2, 3, 1000) * 1.2e-7
    for scores in (np.ones(50), 5 + 1e-7 * rng.normal(size=1000), rounding, np.zeros(3), np.ones(2)):
        with pytest.raises(UserError, match="constant within rounding"):
            refuse_constant(scores)
        with pytest.raises(UserError, match="constant within rounding"):
            choose("score", {"scores": scores}, 1)
    mostly = np.where(np.arange(1000) < 960, 0.25, rng.random(1000))
    with pytest.raises(UserError, match=r"96\.0% of the 1000 scores have the same value, 0\.25"):
        refuse_constant(mostly)


def test_scores_that_say_something_are_not_refused():
    rng = np.random.default_rng(0)
    for scores in (
        rng.random(100),
        1e-9 * rng.random(100),
        np.arange(2.0),
        np.ones(1),
        np.arange(100) > 20,
        1e9 * rng.random(9),
    ):
        refuse_constant(np.asarray(scores, float))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"budget": 0}, "budget=0 is less than 1"),
        ({"budget": -3}, "budget=-3 is less than 1"),
        ({"budget": 2.0}, "budget=2.0 is not an integer"),
        ({"budget": True}, "budget=True is not an integer"),
        ({"budget": 56, "labeled": [0, 1, 2, 3, 4]}, "budget=56 is more than the 55 unlabeled images"),
        ({"budget": 52, "labeled": [0], "exclude": range(9)}, "budget=52 is more than the 51 unlabeled images"),
        ({"budget": 1, "labeled": [60]}, "labeled has image 60, but there are 60 images"),
        ({"budget": 1, "labeled": [-1]}, "labeled has image -1, but there are 60 images"),
        ({"budget": 1, "labeled": [3, 4, 3]}, "labeled has image 3 more than once"),
        ({"budget": 1, "labeled": [0.5]}, "labeled is 1-D float64; it must be 1-D integers"),
        ({"budget": 1, "exclude": np.zeros(59, bool)}, "exclude is a mask of shape .59,., but there are 60 images"),
        ({"budget": 1, "balance": "kmean"}, "balance = 'kmean' is not valid. Did you mean 'kmeans'"),
        ({"budget": 1, "balance": "clusters"}, "'kcenter' needs clusters"),
        ({"budget": 1, "balance": "kmeans", "n_clusters": -1}, "n_clusters=-1"),
        ({"budget": 1, "knobs": {"metrik": "l2"}}, "Did you mean 'metric'"),
        ({"budget": 1, "knobs": {"metric": "cosin"}}, "Did you mean 'cosine'"),
    ],
)
def test_what_is_wrong_is_said(arguments, message):
    with pytest.raises(UserError, match=message):
        choose("kcenter", {"embeddings": cloud()}, **arguments)


@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        (np.zeros(5), r"embeddings has shape \(5,\); it must be 2-D"),
        (np.zeros((5, 2, 2)), "must be 2-D"),
        (np.zeros((0, 3)), "embeddings is empty"),
        (np.zeros((3, 0)), "embeddings is empty"),
        (np.array([["a", "b"]]), "not real numbers"),
        (np.zeros((3, 2), complex), "has dtype complex128"),
        (np.full((9, 2), np.nan), r"in 9 of its rows: 0, 1, 2, 3, 4, …"),
    ],
)
def test_embeddings_that_cannot_be_used_are_refused(embeddings, message):
    with pytest.raises(UserError, match=message):
        choose("kcenter", {"embeddings": embeddings}, 1)


def test_numbers_too_large_to_square_are_refused_but_can_be_normalized():
    points = cloud() * np.float64(1e200)
    with pytest.raises(UserError, match="too large to square"):
        choose("kcenter", {"embeddings": points}, 3, normalize=False)
    huge, plain = (choose("kcenter", {"embeddings": p}, 9).indices for p in (points, cloud()))
    np.testing.assert_array_equal(huge, plain)


def test_row_counts_must_agree():
    with pytest.raises(UserError, match="numbers of images differ: embeddings 60, clusters 59"):
        choose("kcenter", {"embeddings": cloud(), "clusters": np.zeros(59, int)}, 1)
    with pytest.raises(UserError, match="the data set 61, embeddings 60"):
        choose("kcenter", {"embeddings": cloud()}, 1, n=61)


def test_normalized_rows_have_length_one_and_zero_rows_stay():
    points = cloud()
    points[7] = 0
    unit = as_embeddings(points, normalize=True)
    assert unit.dtype == np.float32
    assert unit.flags.c_contiguous
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), np.arange(60) != 7, atol=1e-6)


def test_a_mask_and_indices_are_the_same_rows():
    mask = np.arange(10) % 3 == 0
    np.testing.assert_array_equal(as_rows("labeled", mask, 10), as_rows("labeled", [9, 0, 6, 3], 10))
    assert as_rows("labeled", [], 10).tolist() == []


def test_select_from_python_is_choose():
    points = cloud(80)
    picks = initpools_cli.select(points, "typiclust", 10, labeled=[1], exclude=[2], seed=4, neighbors=5)
    expected = choose("typiclust", {"embeddings": points}, 10, labeled=[1], exclude=[2], seed=4, knobs={"neighbors": 5})
    assert picks.dtype == np.int64
    np.testing.assert_array_equal(picks, expected.indices)
    scores = points[:, 0]
    by_score = initpools_cli.select(None, "score", 5, scores=scores, order="lowest")
    np.testing.assert_array_equal(by_score, np.argsort(scores)[:5])
    arguments = {"scores": scores, "clusters": np.arange(80) % 4, "balance": "clusters"}
    assert (initpools_cli.select(None, "score", 8, **arguments) % 4).tolist() == [0, 1, 2, 3] * 2
    assert len(initpools_cli.select(points, "kmeans-random", 6, n_clusters=3, normalize=False)) == 6
    spread = initpools_cli.select(points, "kcenter", 6, balance="kmeans", n_clusters=3)
    labels = choose("kcenter", {"embeddings": points}, 6, balance="kmeans", n_clusters=3)
    np.testing.assert_array_equal(spread, labels.indices)
    with pytest.raises(UserError, match="'kcenter' has no knob 'neighbours'"):
        initpools_cli.select(points, "kcenter", 3, neighbours=2)
    with pytest.raises(UserError, match="Did you mean 'kcenter'"):
        initpools_cli.select(points, "kcentre", 3)


def test_seeds_decide_what_is_drawn():
    inputs = {"embeddings": cloud(200)}
    for name in ("random", "stratified", "kmeans-random", "kmeans++"):
        one, two = (choose(name, inputs, 20, seed=seed).indices for seed in (0, 1))
        assert one.tolist() != two.tolist()
    one, two = (choose("kcenter", inputs, 20, seed=seed).indices for seed in (0, 1))
    np.testing.assert_array_equal(one, two)


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, initpools_cli; print(initpools_cli.__version__); print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    version, numpy = done.stdout.split()
    assert version == initpools_cli.__version__
    assert numpy == "False"


def test_select_and_choose_have_the_parameters_scripts_rely_on():
    assert list(inspect.signature(initpools_cli.select).parameters) == [
        *("embeddings", "strategy", "budget", "labeled", "exclude", "seed", "device", "knobs", "more")
    ]


def test_clusters_of_a_selection_are_the_kmeans_clusters():
    points = cloud(100)
    selection = choose("kmeans-random", {"embeddings": points}, 10, normalize=False, seed=2, knobs={"n_clusters": 5})
    from initpools_cli.core.seeds import generator

    labels = kmeans(points, 5, generator(2, "kmeans-random")).labels
    np.testing.assert_array_equal(selection.clusters, labels[selection.indices])
