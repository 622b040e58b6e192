"""Queries that weigh uncertainty against difference, against their plain definitions."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.cluster import KMeans

from initpools_cli.core.errors import UserError
from initpools_cli.geometry.kmeans import kmeans
from initpools_cli.geometry.sampling import distance_weighted, draw
from initpools_cli.strategies.clue import clue, clue_of_sets
from initpools_cli.strategies.epig import epig, predictive_information
from initpools_cli.strategies.falcun import falcun
from initpools_cli.strategies.galaxy import galaxy, middle_of_path, places_away
from initpools_cli.strategies.noise_stability import noise_stability

quick = settings(max_examples=60, deadline=None)
NOTHING = np.empty(0, np.int64)


@st.composite
def predictions(draw_):
    """Probabilities, some of them equal or certain, some images labeled, and a budget."""
    n, c = draw_(st.integers(3, 25)), draw_(st.integers(2, 4))
    rng = np.random.default_rng(draw_(st.integers(0, 2**32)))
    probs = softmax(rng.normal(size=(n, c)) * draw_(st.sampled_from([0.5, 3.0])), axis=1)
    if draw_(st.booleans()):
        probs = np.eye(c)[rng.integers(0, c, n)]
    labeled = np.flatnonzero(rng.random(n) < draw_(st.sampled_from([0.0, 0.3])))[: n - 2]
    return probs, labeled, draw_(st.integers(1, n - len(labeled)))


# ---- falcun


@quick
@given(predictions(), st.sampled_from([0.0, 1.0, 10.0, 300.0]), st.integers(0, 9))
def test_falcun_draws_by_the_relevance_written_out(case, gamma, seed):
    probs, labeled, budget = case
    selection = falcun(probs, labeled, budget, np.random.default_rng(seed), gamma=gamma)
    rng, picks = np.random.default_rng(seed), []
    ordered = np.sort(probs, axis=1)
    uncertain = 1 - (ordered[:, -1] - ordered[:, -2])
    for place in range(budget):
        left = [row for row in range(len(probs)) if row not in labeled and row not in picks]
        gaps = {row: min([uncertain[row], *(np.abs(probs[row] - probs[pick]).sum() for pick in picks)]) for row in left}
        low, high = min(gaps.values()), max(gaps.values())
        sums = {row: uncertain[row] + ((gaps[row] - low) / (high - low) if high > low else 0) for row in left}
        shares, free = np.zeros(len(probs)), np.zeros(len(probs), bool)
        free[left] = True
        top = max(sums.values())
        for row, value in sums.items():
            shares[row] = (max(value, 0) / top) ** gamma if top > 0 else 1
        pick = draw(shares, free, rng)
        assert selection.indices[place] == pick
        assert selection.scores[place] == pytest.approx(sums[pick], abs=1e-12)
        picks.append(pick)


def test_falcun_with_a_high_power_takes_the_most_uncertain_and_then_what_differs():
    probs = np.array([[0.5, 0.5, 0], [0.5, 0.49, 0.01], [0.0, 0.45, 0.55], [1, 0, 0]])
    assert falcun(probs, NOTHING, 2, np.random.default_rng(0), gamma=1e4).indices.tolist() == [0, 2]


# ---- epig


@quick
@given(st.integers(0, 2**32), st.integers(2, 5), st.integers(2, 4))
def test_epig_is_the_divergence_of_the_joint_from_the_product(seed, passes, classes):
    rng = np.random.default_rng(seed)
    probs = softmax(3 * rng.normal(size=(passes, 7, classes)), axis=-1)
    gains = predictive_information(probs, probs[:, 4:])
    for image in range(7):
        information = 0.0
        for target, y, z in product(range(4, 7), range(classes), range(classes)):
            joint = (probs[:, image, y] * probs[:, target, z]).mean()
            apart = probs[:, image, y].mean() * probs[:, target, z].mean()
            information += joint * np.log(joint / apart) / 3
        assert gains[image] == pytest.approx(information, abs=1e-12)


def test_epig_in_blocks_of_targets_and_by_hand(monkeypatch):
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.ones(3), size=(4, 50))
    whole = predictive_information(probs, probs)
    monkeypatch.setattr("initpools_cli.strategies.epig.BLOCK", 40)
    np.testing.assert_allclose(predictive_information(probs, probs), whole, atol=1e-12)
    # Two passes that are sure and disagree: a label says all about the other label; where they agree, it says nothing.
    sure = np.array([[[1.0, 0.0], [1.0, 0.0], [0.3, 0.7]], [[0.0, 1.0], [0.0, 1.0], [0.3, 0.7]]])
    np.testing.assert_allclose(predictive_information(sure, sure[:, :1]), [np.log(2), np.log(2), 0], atol=1e-12)
    selection = epig(sure, np.array([0]), 2, np.random.default_rng(0), targets=2)
    assert selection.indices.tolist() == [1, 2] and selection.scores[1] == 0


# ---- noise-stability


@quick
@given(st.integers(0, 2**32), st.integers(1, 4))
def test_noise_stability_is_farthest_first_from_zero(seed, passes):
    rng = np.random.default_rng(seed)
    features, head = rng.normal(size=(20, 3)).astype(np.float32), rng.normal(size=(4, 3))
    labeled = np.array([2, 5])
    selection = noise_stability(features, head, labeled, 6, np.random.default_rng(1), passes=passes, scale=0.1)
    same = np.random.default_rng(1)
    before = softmax(features @ head[:-1] + head[-1], axis=1)
    parts = []
    for _ in range(passes):
        noise = same.standard_normal((3, 3))
        noise = noise / np.linalg.norm(noise) * 0.1 * np.linalg.norm(head[:-1])
        parts.append(softmax(features @ (head[:-1] + noise) + head[-1], axis=1) - before)
    changes = np.hstack(parts) / np.linalg.norm(before, axis=1)[:, None]
    known = [np.zeros(changes.shape[1])]
    for pick, score in zip(selection.indices, selection.scores, strict=True):
        gaps = np.min([np.linalg.norm(changes - each, axis=1) for each in known], axis=0)
        gaps[labeled] = 0
        assert gaps[pick] == pytest.approx(gaps.max(), rel=1e-4) and score == pytest.approx(gaps[pick], rel=1e-4)
        known.append(changes[pick])


def test_noise_on_a_layer_without_weights_changes_nothing():
    features = np.ones((5, 2), np.float32)
    selection = noise_stability(features, np.zeros((3, 2)), np.array([0]), 4, np.random.default_rng(0))
    assert selection.indices.tolist() == [1, 2, 3, 4] and not selection.scores.any()


def test_noise_that_does_not_fit_in_memory_is_refused_before_it_is_drawn():
    with pytest.raises(UserError, match=r"of memory, but only .* are free") as error:
        noise_stability(
            np.ones((20, 1), np.float32), np.zeros((2, 10**5)), np.arange(0), 4, np.random.default_rng(0), passes=10**5
        )
    # 21 rows, 10⁵ passes, 10⁵ classes, 4 bytes.
    assert error.value.value == "840.0 GB"


# ---- galaxy


def steps_from(starts, goals, free, reach):
    """Steps of the shortest path from each place to a start through unlabeled places; inf if there is none."""
    away = np.full(len(free), np.inf)
    away[starts] = 0
    queue = list(starts)
    while queue:
        here = queue.pop(0)
        for there in range(max(0, here - reach), min(len(free), here + reach + 1)):
            direct = away[here] == 0 and there in goals
            if np.isinf(away[there]) and not direct and (free[there] or there in goals):
                away[there] = away[here] + 1
                if free[there]:
                    queue.append(there)
    return away


@settings(max_examples=150, deadline=None)
@given(st.integers(3, 16), st.integers(1, 4), st.integers(0, 2**32), st.sampled_from([0.2, 0.5, 0.8]))
def test_galaxy_takes_the_middle_of_a_shortest_path(n, reach, seed, share):
    rng = np.random.default_rng(seed)
    free, inside = rng.random(n) > share, rng.random(n) < 0.5
    own, others = np.flatnonzero(~free & inside), np.flatnonzero(~free & ~inside)
    from_own, from_others = (steps_from(starts, goals, free, reach) for starts, goals in ((own, others), (others, own)))
    both = np.where(free, from_own + from_others, np.inf)
    at = middle_of_path(free, inside, reach)
    if np.isinf(both.min()):
        assert at is None
    else:
        assert both[at] == both.min() and abs(from_own[at] - from_others[at]) <= 1


def test_galaxy_takes_classes_in_turn_and_goes_by_the_labels_that_were_bought():
    # Class 1 grows more likely with the row: both lines are in order of the row.
    probs = np.column_stack([np.linspace(0.9, 0.1, 9), np.linspace(0.1, 0.9, 9)])
    labels = np.full(9, -1)
    labels[[0, 8]] = 0, 1
    selection = galaxy(probs, np.array([0, 8]), 3, np.random.default_rng(0), labels)
    # Row 4, of equal probabilities, is predicted as 0; then the middles of 4 and 8, and of 4 and 6.
    assert selection.indices.tolist() == [4, 6, 5]
    labels[[0, 8]] = 1, 0
    assert galaxy(probs, np.array([0, 8]), 3, np.random.default_rng(0), labels).indices.tolist() == [4, 2, 1]
    # A labeled image whose label is not known is of the class that is predicted.
    labels[[0, 8]] = -1, 1
    assert galaxy(probs, np.array([0, 8]), 3, np.random.default_rng(0), labels).indices.tolist() == [4, 6, 5]
    # With labels of one class there is no path: all picks are random.
    labels[[0, 8]] = 0, 0
    drawn = {tuple(galaxy(probs, np.array([0, 8]), 1, np.random.default_rng(s), labels).indices) for s in range(20)}
    assert len(drawn) > 3


def test_the_reach_of_galaxy_grows_by_one():
    # The nearest unlabeled images are 1 and 3 places from labeled ones of both classes: out of reach at 1 and 2.
    probs = np.column_stack([np.linspace(0.9, 0.1, 8), np.linspace(0.1, 0.9, 8)])
    labels = np.array([-1, -1, 0, 0, 1, 1, -1, -1])
    picks = [galaxy(probs, np.arange(2, 6), 2, np.random.default_rng(seed), labels).indices for seed in range(20)]
    assert {int(first) for first, _ in picks} == {0, 1, 6, 7}
    assert {int(second) for first, second in picks if first == 0} == {1}


@pytest.mark.parametrize("n", [1, 2, 5])
def test_places_to_nothing_are_more_than_there_are(n):
    assert (places_away(np.zeros(n, bool)) > n).all()
    assert places_away(np.arange(n) == 0).tolist() == list(range(n))


# ---- clue


@quick
@given(st.integers(0, 2**32), st.integers(1, 4))
def test_weighted_k_means_ends_at_weighted_means(seed, k):
    rng = np.random.default_rng(seed)
    points, weights = rng.normal(size=(40, 2)).astype(np.float32), rng.exponential(size=40) ** 4 + 1e-7
    clusters = kmeans(points, k, np.random.default_rng(1), iterations=200, tolerance=0, weights=weights)
    twin = KMeans(k, init=clusters.centroids, n_init=1, tol=0).fit(points, sample_weight=weights)
    np.testing.assert_array_equal(clusters.labels, twin.labels_)
    np.testing.assert_allclose(clusters.centroids, twin.cluster_centers_, atol=1e-4)
    assert clusters.inertia == pytest.approx(twin.inertia_, rel=1e-4, abs=1e-9)


def test_first_centroids_are_drawn_by_weight():
    points, weights = np.arange(4, dtype=np.float32)[:, None], np.array([1e-12, 1.0, 1e-12, 1.0])
    firsts = {tuple(sorted(distance_weighted(points, 2, np.random.default_rng(s), NOTHING, None, weights)[0]))
              for s in range(20)}  # fmt: skip
    assert firsts == {(1, 3)}


@quick
@given(predictions(), st.sampled_from([0.3, 1.0, 4.0]))
def test_clue_takes_the_nearest_to_centroids_weighted_by_entropy(case, temperature):
    probs, labeled, budget = case
    features = np.random.default_rng(len(probs)).normal(size=(len(probs), 3)).astype(np.float32)
    selection = clue(features, probs, labeled, budget, np.random.default_rng(2), temperature=temperature)
    rows = np.setdiff1d(np.arange(len(probs)), labeled)
    softer = probs ** (1 / temperature)
    softer /= softer.sum(axis=1, keepdims=True)
    entropy = [-sum(p * np.log(p) for p in row if p > 0) for row in softer[rows]]
    weights = np.maximum(entropy, 1e-7)
    clusters = kmeans(features[rows], budget, np.random.default_rng(2), weights=weights)
    left = rows.tolist()
    sums = [weights[clusters.labels == each].sum() for each in range(budget)]
    for pick, cluster in zip(selection.indices, selection.clusters, strict=True):
        away = np.linalg.norm(features[left] - clusters.centroids[cluster].astype(float), axis=1)
        assert away[left.index(pick)] <= away.min() + 1e-6
        left.remove(pick)
    assert np.all(np.diff(np.array(sums)[selection.clusters]) <= 1e-9)


def test_clue_clusters_where_predictions_are_uncertain():
    rng = np.random.default_rng(0)
    features = np.r_[rng.normal(0, 1, (50, 2)), rng.normal(20, 1, (10, 2))].astype(np.float32)
    probs = np.r_[np.tile([1.0, 0.0], (50, 1)), np.tile([0.5, 0.5], (10, 1))]
    for seed in range(5):
        assert (clue(features, probs, NOTHING, 3, np.random.default_rng(seed)).indices >= 50).all()
        # Several labels per image: sure of both, or of neither.
        sets = np.r_[np.tile([0.99, 0.0], (50, 1)), np.full((10, 2), 0.5)]
        selection = clue_of_sets(features, sets, NOTHING, 3, np.random.default_rng(seed), temperature=0.1)
        assert (selection.indices >= 50).all()


def test_clue_of_one_label_is_clue_of_two_classes():
    rng = np.random.default_rng(1)
    features, p = rng.normal(size=(30, 3)).astype(np.float32), rng.random(30)
    one = clue_of_sets(features, p[:, None], np.array([3]), 5, np.random.default_rng(0), temperature=0.5)
    two = clue(features, np.column_stack([p, 1 - p]), np.array([3]), 5, np.random.default_rng(0), temperature=0.5)
    np.testing.assert_array_equal(one.indices, two.indices)
