"""Queries by what goes into a classifier's last layer and by what comes out of it, against their plain definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from initpools_cli.core.errors import UserError
from initpools_cli.core.seeds import generator
from initpools_cli.geometry.fisher import ROWS, Fisher, project_principal
from initpools_cli.geometry.kmeans import kmeans
from initpools_cli.geometry.logits import logits_of
from initpools_cli.geometry.neighbors import nearest_free
from initpools_cli.geometry.normalize import unit_rows
from initpools_cli.geometry.sampling import draw
from initpools_cli.strategies.alfamix import alfamix, class_means, smallest_epsilon
from initpools_cli.strategies.badge import badge
from initpools_cli.strategies.bait import bait
from initpools_cli.strategies.cdal import cdal
from initpools_cli.strategies.dropquery import disagreements, dropquery
from initpools_cli.strategies.select import choose

quick = settings(max_examples=100, deadline=None)


def softmax(logits):
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


@st.composite
def models(draw_, smooth=False, n=30):
    """Features, a head and its predictions, some labeled, a budget; with duplicates unless `smooth`."""
    n, h, c = draw_(st.integers(4, n)), draw_(st.integers(1, 5)), draw_(st.integers(2, 4))
    rng = np.random.default_rng(draw_(st.integers(0, 2**32)))
    features = rng.normal(size=(n, h)).astype(np.float32)
    if not smooth and draw_(st.booleans()):
        features = rng.integers(0, 3, (n, h)).astype(np.float32)
    head = rng.normal(size=(h + 1, c)) * draw_(st.sampled_from([0.1, 1.0, 10.0]))
    # Row by row, so that equal features have equal predictions.
    probs = np.stack([softmax(row @ head[:-1] + head[-1]) for row in features])
    labeled = np.flatnonzero(rng.random(n) < draw_(st.sampled_from([0.0, 0.3])))[: n - 2]
    return features, head, probs, labeled, draw_(st.integers(1, n - len(labeled)))


def test_the_logits_are_those_of_the_layer():
    rng = np.random.default_rng(0)
    features, head = rng.normal(size=(9, 3)).astype(np.float32), rng.normal(size=(4, 2))
    expected = np.hstack([features, np.ones((9, 1))]) @ head
    np.testing.assert_allclose(logits_of(features, head), expected, atol=1e-12)


# ---- badge


@quick
@given(models(), st.integers(0, 9))
def test_badge_is_k_means_plus_plus_on_gradients_written_out(case, seed):
    features, _, probs, labeled, budget = case
    errors = probs - np.eye(probs.shape[1])[probs.argmax(axis=1)]
    gradients = np.einsum("nc,nh->nch", errors, features.astype(np.float64)).reshape(len(probs), -1)
    selection = badge(features, probs, labeled, budget, np.random.default_rng(seed))
    rng = np.random.default_rng(seed)
    free = np.ones(len(probs), bool)
    free[labeled] = False
    longest = (gradients**2).sum(axis=1)
    # Equal lengths differ in rounding: any of them may be first.
    assert longest[selection.indices[0]] >= longest[free].max() * (1 - 1e-5)
    free[selection.indices[0]] = False
    squared = ((gradients - gradients[selection.indices[0]]) ** 2).sum(axis=1)
    for place in range(1, budget):
        assert selection.indices[place] == draw(squared, free, rng)
        assert selection.scores[place] == pytest.approx(np.sqrt(squared[selection.indices[place]]), rel=1e-3, abs=1e-12)
        free[selection.indices[place]] = False
        gaps = ((gradients - gradients[selection.indices[place]]) ** 2).sum(axis=1)
        squared = np.minimum(squared, gaps)


def test_badge_draws_no_image_twice_over():
    rng = np.random.default_rng(0)
    features, probs = rng.normal(size=(20, 6)).astype(np.float32) + 50, rng.dirichlet(np.ones(4), size=20)
    twice = choose("badge", {"features": np.repeat(features, 3, axis=0), "probs": np.repeat(probs, 3, axis=0)}, 30)
    assert sorted(twice.indices[:20] // 3) == list(range(20))
    assert (twice.scores[:20] > 0).all() and (twice.scores[20:] == 0).all()


# ---- bait


def fisher(features, probs):
    """Each image's Fisher information, from the gradients of every class."""
    h, c = features.shape[1], probs.shape[1]
    information = np.zeros((len(features), c * h, c * h))
    for row, (feature, p) in enumerate(zip(features.astype(np.float64), probs, strict=True)):
        for label in range(c):
            gradient = np.kron(np.eye(c)[label] - p, feature)
            information[row] += p[label] * np.outer(gradient, gradient)
    return information


@settings(max_examples=40, deadline=None)
@given(models(smooth=True, n=14), st.sampled_from([0.3, 2.0]))
def test_bait_equals_its_plain_definition(case, regularizer):
    features, _, probs, labeled, budget = case
    each = fisher(features, probs)
    target = each.mean(axis=0)
    design = each[labeled].sum(axis=0) + regularizer * np.eye(len(target))
    selection = bait(features, probs, labeled, budget, regularizer=regularizer)

    def trace(matrix):
        return np.trace(np.linalg.solve(matrix, target))

    free = [row for row in range(len(features)) if row not in labeled]
    picks, gains = [], []
    for _ in range(min(2 * budget, len(free))):
        traces = {row: trace(design + each[row]) for row in free if row not in picks}
        best = min(traces, key=traces.__getitem__)
        picks.append(best)
        gains.append(trace(design) - traces[best])
        design = design + each[best]
    while len(picks) > budget:
        traces = [trace(design - each[row]) for row in picks]
        least = int(np.argmin(traces))
        design = design - each[picks.pop(least)]
        gains.pop(least)
    if selection.indices.tolist() != picks:
        # Traces that rounding can't tell apart.
        own = each[labeled].sum(axis=0) + regularizer * np.eye(len(target)) + each[selection.indices].sum(axis=0)
        assert trace(own) == pytest.approx(trace(design), rel=1e-9)
    else:
        np.testing.assert_allclose(selection.scores, gains, rtol=1e-6, atol=1e-12)


def test_bait_goes_by_the_main_directions_of_the_features():
    rng = np.random.default_rng(1)
    narrow, probs = rng.normal(size=(40, 3)), rng.dirichlet(np.ones(3), size=40)
    turned = np.hstack([narrow, np.zeros((40, 4))]) @ np.linalg.qr(rng.normal(size=(7, 7)))[0]
    inputs = (probs, np.arange(3), 5)
    plain, selection = bait(narrow.astype(np.float32), *inputs), bait(turned.astype(np.float32), *inputs, components=3)
    np.testing.assert_array_equal(selection.indices, plain.indices)
    np.testing.assert_allclose(selection.scores, plain.scores, rtol=1e-4)
    assert (np.diff(bait(narrow.astype(np.float32), probs, np.arange(3), 40 - 3).scores) < 1e-9).all()


@pytest.mark.parametrize("seed", range(3))
def test_the_best_of_more_images_than_are_measured_at_once(seed):
    rng = np.random.default_rng(seed)
    n = 9 * ROWS
    features, probs = rng.normal(size=(n, 3)), rng.dirichlet(np.full(3, 0.3), size=n)
    fisher, every = Fisher(features, probs), np.arange(n)
    inverse = np.linalg.inv(fisher.total(every[:5]) + 0.1 * np.eye(9))
    sandwich = inverse @ fisher.total(every) @ inverse
    changes = fisher.changes(every, inverse, sandwich, 1.0)
    at, most = fisher.best(every, inverse, sandwich)
    assert at == changes.argmax() and most == pytest.approx(changes.max())


def test_features_are_projected_on_as_many_leading_directions_as_asked_for():
    features = np.random.default_rng(2).normal(size=(30, 7)).astype(np.float32)
    leading = np.linalg.svd(features.astype(np.float64))[2][:2].T
    projection = project_principal(features, 2)
    assert projection.shape == (30, 2)
    np.testing.assert_allclose(np.abs(projection), np.abs(features @ leading), atol=1e-6)


# ---- cdal


@quick
@given(models())
def test_cdal_takes_the_farthest_by_both_divergences(case):
    _, _, probs, labeled, budget = case
    floored = np.maximum(probs, 1e-12)
    ratio = np.log(floored[:, None] / floored[None])
    gaps = 0.5 * ((floored[:, None] * ratio).sum(axis=-1) - (floored[None] * ratio).sum(axis=-1))
    selection = cdal(probs, labeled, budget)
    known = labeled.tolist()
    for pick, score in zip(selection.indices, selection.scores, strict=True):
        free = np.setdiff1d(np.arange(len(probs)), known)
        if known:
            nearest = gaps[:, known].min(axis=1)
            assert score == pytest.approx(nearest[pick], abs=1e-9) and nearest[pick] >= nearest[free].max() - 1e-9
        else:
            mean = floored.mean(axis=0)
            away = ((floored - mean) * np.log(floored / mean)).sum(axis=1)
            assert score == np.inf and away[pick] <= away.min() + 1e-9
        assert pick in free
        known.append(int(pick))


def test_cdal_by_hand():
    probs = np.array([[0.5, 0.5], [0.5, 0.5], [0.75, 0.25], [0.0, 1.0]])
    selection = cdal(probs, np.array([0]), 3)
    assert selection.indices.tolist() == [3, 2, 1]
    np.testing.assert_allclose(selection.scores[1:], [0.125 * np.log(3), 0], atol=1e-15)


# ---- alfamix


@quick
@given(models(smooth=True))
def test_alfamix_changes_classes_where_the_mixtures_written_out_do(case):
    features, head, probs, labeled, _ = case
    if not len(labeled):
        return
    own = probs.argmax(axis=1)
    z = features.astype(np.float64)
    anchors = class_means(features[labeled], own[labeled])
    logits = logits_of(features, head)
    slope = (softmax(logits) - np.eye(probs.shape[1])[own]) @ head[:-1].T
    needed = smallest_epsilon(features, logits, head, anchors)
    for epsilon in (0.05, 0.2, 1.0, 5.0):
        changed, unsure = np.zeros(len(z), bool), np.abs(needed - epsilon) < 1e-6
        # Where p is 1 to the last digit the gradient written out is rounding.
        unsure |= np.linalg.norm(slope, axis=1) < 1e-8
        for anchor in anchors:
            apart = anchor - z
            with np.errstate(all="ignore"):
                share = np.linalg.norm(apart, axis=1) * slope.T / np.linalg.norm(slope, axis=1) / apart.T
            alpha = epsilon / np.sqrt(z.shape[1]) * share.T
            mixed = (1 - alpha) * z + alpha * anchor
            changed |= (mixed @ head[:-1] + head[-1]).argmax(axis=1) != own
        unsure |= (np.abs(anchors[:, None] - z) < 1e-9).any(axis=(0, 2))
        np.testing.assert_array_equal((needed < epsilon)[~unsure], changed[~unsure])


def boundary(gaps):
    """Two classes that part at x = 0, and images at these distances from there, the last labeled at −1 and 1."""
    x = np.append(np.asarray(gaps, np.float64), [-1.0, 1.0])
    features = np.column_stack([x, np.zeros_like(x)]).astype(np.float32)
    return features, np.array([[-3.0, 3.0], [0.0, 0.0], [0.0, 0.0]]), np.array([len(gaps), len(gaps) + 1])


def test_alfamix_by_hand():
    features, head, labeled = boundary([0.1, -0.1, 0.4, 3.0, 2.0, -4.0])
    anchors = class_means(features[labeled], np.array([0, 1]))
    needed = smallest_epsilon(features, logits_of(features, head), head, anchors)
    # x reaches the boundary in a step of ε/√2 times the distance to the farther labeled image.
    np.testing.assert_allclose(needed[:4], np.sqrt(2) * np.array([0.1 / 1.1, 0.1 / 1.1, 0.4 / 1.4, 0.75]), rtol=1e-6)
    inputs = (features, head, labeled)
    assert set(alfamix(*inputs, 2, np.random.default_rng(0)).indices) == {0, 1}
    # With 0.2 there are two, with 0.6 three, and with 1 no more: the fourth is drawn.
    four = alfamix(*inputs, 4, np.random.default_rng(0)).indices
    assert four[:3].tolist() == [0, 1, 2] and four[3] in (3, 4, 5)


def test_alfamix_goes_by_the_labels_that_were_bought():
    features, head, labeled = boundary([0.6, -0.2, 5.0])
    labels = np.full(5, -1)
    labels[labeled] = 1
    anchors = class_means(features[labeled], labels[labeled])
    np.testing.assert_array_equal(anchors, [[0, 0]])
    # From the mean at 0 no step of half its distance reaches the boundary.
    assert (smallest_epsilon(features, logits_of(features, head), head, anchors)[:3] > 1).all()
    with_labels, without = (
        {
            tuple(alfamix(features, head, labeled, 1, np.random.default_rng(seed), known_labels).indices)
            for seed in range(9)
        }
        for known_labels in (labels, None)
    )
    assert without == {(1,)} and len(with_labels) > 1


def test_alfamix_is_k_means_of_directions_where_enough_change():
    rng = np.random.default_rng(0)
    features, head = rng.normal(size=(80, 3)).astype(np.float32), rng.normal(size=(4, 3))
    selection = alfamix(features, head, np.empty(0, np.int64), 5, np.random.default_rng(7))
    clusters = kmeans(unit_rows(features), 5, np.random.default_rng(7))
    nearest = nearest_free(clusters.centroids, unit_rows(features), np.empty(0, np.int64))[0]
    assert set(selection.indices) == set(nearest)


# ---- dropquery


def test_dropquery_counts_the_passes_that_change_the_class():
    rng = np.random.default_rng(0)
    features, head = rng.normal(size=(1500, 4)).astype(np.float32), rng.normal(size=(5, 3))
    counts = disagreements(features, head, 5, 0.5, np.random.default_rng(3))
    seed = int(np.random.default_rng(3).integers(2**63))
    expected = np.zeros(1500, int)
    for start in (0, 1024):
        draws, block = generator(seed, start), features[start : start + 1024]
        for _ in range(5):
            kept = np.where(draws.random(block.shape, np.float32) < 0.5, 0.0, block / 0.5)
            expected[start : start + 1024] += logits_of(kept, head).argmax(axis=1) != logits_of(block, head).argmax(
                axis=1
            )
    np.testing.assert_array_equal(counts, expected)
    assert not disagreements(features, head, 5, 0.0, np.random.default_rng(3)).any()


def test_a_class_that_hangs_on_one_feature_changes_as_often_as_it_is_dropped():
    # Without its feature an image falls to class 0, for which the bias speaks.
    head = np.array([[0.0, 9.0], [1.0, 0.0]])
    changes = disagreements(np.ones((20_000, 1), np.float32), head, 3, 0.75, np.random.default_rng(0))
    np.testing.assert_allclose(
        np.bincount(changes, minlength=4) / 20_000, [1 / 64, 9 / 64, 27 / 64, 27 / 64], atol=0.02
    )


def plain_candidates(changes, passes, budget):
    """Images that change in more passes than a threshold, which falls until there are 25 for each of the budget."""
    threshold = passes // 2
    while (changes > threshold).sum() < 25 * budget and threshold > 0:
        threshold -= 1
    return changes > threshold


@quick
@given(models(n=120), st.integers(1, 6))
def test_dropquery_is_k_means_of_what_changes_or_all_of_it_and_others(case, passes):
    features, head, _, labeled, budget = case
    budget = 1 + budget % 4
    budget = min(budget, len(features) - len(labeled))
    selection = dropquery(features, head, labeled, budget, np.random.default_rng(1), passes=passes, rate=0.5)
    rng = np.random.default_rng(1)
    changes = disagreements(features, head, passes, 0.5, rng)
    free = np.setdiff1d(np.arange(len(features)), labeled)
    candidates = free[plain_candidates(changes[free], passes, budget)]
    if len(candidates) < budget:
        assert selection.indices[: len(candidates)].tolist() == sorted(candidates, key=lambda i: (-changes[i], i))
        assert not changes[selection.indices[len(candidates) :]].any()
        assert set(selection.indices) <= set(free) and len(set(selection.indices)) == budget
        assert selection.scores is None and selection.clusters is None
        return
    points = unit_rows(features[candidates])
    clusters = kmeans(points, budget, rng)
    by_size = sorted(range(budget), key=lambda each: -np.count_nonzero(clusters.labels == each))
    nearest, away = nearest_free(clusters.centroids[by_size], points, np.empty(0, np.int64))
    np.testing.assert_array_equal(selection.indices, candidates[nearest])
    np.testing.assert_array_equal(selection.scores, -away)


def test_dropquery_fills_up_at_random():
    # Image 0 falls to class 0 without its feature; no pass changes the others.
    features, head = np.r_[1.0, np.full(99, -1.0)].astype(np.float32)[:, None], np.array([[0.0, 9.0], [1.0, 0.0]])
    pools = [dropquery(features, head, np.array([50]), 3, np.random.default_rng(s)).indices.tolist() for s in range(9)]
    changed = [pool for pool in pools if 0 in pool]
    assert len(changed) >= 7 and all(pool[0] == 0 for pool in changed)
    assert len({tuple(pool[1:]) for pool in changed}) > 1 and not any(50 in pool for pool in pools)


# ---- all of them


@pytest.mark.parametrize("name", ["badge", "bait", "alfamix", "dropquery"])
def test_without_a_classifier_the_way_to_one_is_named(name):
    with pytest.raises(UserError, match="needs features") as error:
        choose(name, {"probs": np.full((4, 2), 0.5), "head": np.zeros((3, 2))}, 1)
    assert "al-run" in error.value.remedy
