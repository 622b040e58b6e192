"""Strategies that combine or choose among others, against their plain definitions."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.linear_model import Ridge

from initpools_cli.core.errors import UserError
from initpools_cli.geometry.ridge import leave_one_out, ridge
from initpools_cli.strategies import auto as auto_module
from initpools_cli.strategies import refine as refine_module
from initpools_cli.strategies.auto import PENALTY, auto, correct_without, least_typical_rows, most_missed
from initpools_cli.strategies.boss import boss, candidate_batches, class_medoids
from initpools_cli.strategies.ensemble import MEMBERS, ModelArrays
from initpools_cli.strategies.margin import margin, margins
from initpools_cli.strategies.refine import ENSEMBLE, refine
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.runtime import operations
from initpools_cli.strategies.typiclust import typiclust
from initpools_cli.strategies.uherding import uherding
from initpools_cli.training.calibration import calibration_of

quick = settings(max_examples=30, deadline=None)
NOTHING = np.empty(0, np.int64)


def scene(seed=0, n=60, labeled=8, spread=1.5):
    """Three classes in four dimensions, and a linear classifier of their centers: arrays of a model, and labels."""
    rng = np.random.default_rng(seed)
    centers = 3 * rng.normal(size=(3, 4))
    labels = rng.integers(0, 3, n)
    points = (centers[labels] + spread * rng.normal(size=(n, 4))).astype(np.float32)
    head = np.vstack([centers.T, -(centers**2).sum(axis=1) / 2]) / 4
    probs = softmax(points @ head[:-1] + head[-1], axis=1)
    known = np.sort(rng.choice(n, labeled, replace=False))
    return ModelArrays(points, points, head, probs, known), labels


def strength(points, penalty):
    return penalty * ((points - points.mean(axis=0)) ** 2).sum() / len(points)


# ---- ridge


@quick
@given(st.integers(2, 12), st.integers(1, 8), st.sampled_from([0.01, 1.0]), st.integers(0, 2**32))
def test_ridge_and_leave_one_out_are_scikit_learns(m, d, penalty, seed):
    rng = np.random.default_rng(seed)
    points, targets = rng.normal(size=(m, d)).astype(np.float32), rng.normal(size=(m, 2))
    alpha = strength(points.astype(float), penalty)
    twin = Ridge(alpha).fit(points.astype(float), targets)
    weights = ridge(points, targets, penalty)
    np.testing.assert_allclose(weights[:-1], twin.coef_.T, atol=1e-8)
    np.testing.assert_allclose(weights[-1], twin.intercept_, atol=1e-8)
    without = leave_one_out(points, targets, penalty)
    for row in range(m):
        rest = np.arange(m) != row
        other = Ridge(alpha).fit(points[rest].astype(float), targets[rest])
        np.testing.assert_allclose(without[row], other.predict(points[[row]].astype(float))[0], atol=1e-6)


# ---- refine


@pytest.mark.parametrize("name", MEMBERS)
def test_a_member_chooses_of_the_candidates_alone(name):
    model, _ = scene()
    candidates = np.setdiff1d(np.arange(0, 60, 2), model.labeled)
    for budget in (1, 5, len(candidates)):
        picks = model.choose(name, candidates, budget, np.random.default_rng(0))
        assert len(set(picks)) == budget and set(picks) <= set(candidates)


@pytest.mark.parametrize(("rounds", "batches", "share", "budget"), [(1, 1, 1.0, 4), (3, 2, 0.4, 5), (2, 1, 0.1, 52)])
def test_refine_is_the_union_of_batches_round_by_round(rounds, batches, share, budget):
    model, _ = scene()
    inputs = (model.embeddings, model.features, model.head, model.probs, model.labeled, budget)
    selection = refine(*inputs, np.random.default_rng(5), rounds=rounds, batches=batches, share=share)
    rng = np.random.default_rng(5)
    left = sorted(set(range(60)) - set(model.labeled))
    for _ in range(rounds):
        union: set[int] = set()
        for name in ENSEMBLE:
            for _ in range(batches):
                if len(left) > budget:
                    subset = rng.choice(left, max(budget, int(share * len(left))), replace=False)
                    union |= set(model.choose(name, subset, budget, rng))
        left = sorted(union) or left
    rows = np.array(sorted({*left, *model.labeled}))
    final = uherding(model.embeddings[rows], np.searchsorted(rows, model.labeled), budget, rng, model.probs[rows])
    np.testing.assert_array_equal(selection.indices, rows[final.indices])


def test_refine_by_margin_alone_takes_the_smallest_margins(monkeypatch):
    model, _ = scene()
    monkeypatch.setattr(refine_module, "ENSEMBLE", ("margin",))
    inputs = (model.embeddings, model.features, model.head, model.probs, model.labeled, 7)
    selection = refine(*inputs, np.random.default_rng(0), rounds=3, batches=1, share=1.0)
    assert set(selection.indices) == set(margin(model.probs, model.labeled, 7).indices)


# ---- boss


def accuracy_with(model, labels, batch):
    known = np.concatenate([model.labeled, batch])
    points = model.features[known].astype(float)
    fitted = Ridge(strength(points, 0.1)).fit(points, np.eye(3)[labels[known]])
    return (fitted.predict(model.features.astype(float)).argmax(axis=1) == labels).mean()


@pytest.mark.parametrize("seed", range(3))
def test_boss_takes_the_batch_whose_labels_give_the_highest_accuracy(seed):
    model, labels = scene(seed, n=90, labeled=3, spread=4.0)
    inputs = (model.embeddings, model.features, model.head, model.probs, labels, model.labeled, 4)
    selection = boss(*inputs, np.random.default_rng(seed), batches=16)
    seen = replace(model, labels=labels)
    batches = list(candidate_batches(seen, labels, 4, 16, np.random.default_rng(seed)))
    each = [accuracy_with(model, labels, batch) for batch in batches]
    assert accuracy_with(model, labels, selection.indices) == max(each) > np.mean(each)
    assert selection.indices.tolist() == batches[int(np.argmax(each))].tolist()
    assert all(len(set(batch)) == 4 and not set(batch) & set(model.labeled) for batch in batches)


def test_class_medoids_go_to_the_class_with_the_fewest_labels():
    points = np.array([[0.0], [1.0], [2.0], [9.0], [10.0], [20.0], [30.0]], np.float32)
    labels = np.array([0, 0, 0, 1, 1, 2, 2])
    # The image in the middle of class 0 is the first; class 2 has a label, and class 1 two candidates.
    assert class_medoids(points, labels, np.array([0, 1, 2, 3, 4, 6]), np.array([5]), 6).tolist() == [1, 3, 0, 4, 6, 2]


def test_boss_needs_the_labels_of_all_images():
    model, labels = scene()
    labels[7] = -1
    inputs = (model.embeddings, model.features, model.head, model.probs, labels, model.labeled, 4)
    with pytest.raises(UserError, match="'boss' needs the labels of all images, but 1 of 60 are unknown"):
        boss(*inputs, np.random.default_rng(0))


# ---- auto


@quick
@given(st.integers(0, 2**32), st.integers(6, 20))
def test_auto_counts_what_scikit_learn_predicts_without_labels(seed, m):
    rng = np.random.default_rng(seed)
    points, labels = rng.normal(size=(m, 3)).astype(np.float32), np.arange(m) % 3
    left_out = rng.choice(m, 3, replace=False)
    rest = np.setdiff1d(np.arange(m), left_out)
    wide, targets = points.astype(float), np.eye(3)[labels]
    alpha = strength(wide[rest], PENALTY)
    right = 0
    for row in range(m):
        train = rest[rest != row]
        right += Ridge(alpha).fit(wide[train], targets[train]).predict(wide[[row]])[0].argmax() == labels[row]
    assert correct_without(points, labels, left_out) == right


def test_auto_goes_by_the_labels_that_are_missed_most(monkeypatch):
    points, labels = np.zeros((9, 1), np.float32), np.arange(9) % 3
    left_out_labels: list[list[int]] = []
    counts: list[int] = []

    def correct(points, labels, left_out):
        left_out_labels.append(sorted(labels[left_out]))
        return counts[min(len(left_out_labels), 3) - 1]

    monkeypatch.setattr(auto_module, "correct_without", correct)
    for right, name in (
        ((3, 5, 5), "typiclust"),
        ((5, 3, 5), "margin"),
        ((5, 5, 3), "random"),
        ((4, 4, 4), "typiclust"),
    ):
        left_out_labels.clear()
        counts[:] = right
        assert most_missed(points, labels, 0.5, np.random.default_rng(0)) == name
        # Half of nine is one for each of three classes; random sets are drawn five times.
        assert left_out_labels == [[0, 1, 2]] * 7


def test_auto_is_typiclust_without_labels_or_with_one_for_each_class():
    model, labels = scene()
    plain = typiclust(model.embeddings, model.labeled, 5, np.random.default_rng(1)).indices
    few = np.full(60, -1)
    few[model.labeled[:3]] = 0, 1, 2
    for probs, known in ((None, labels), (model.probs, None), (model.probs, few), (model.probs, np.full(60, -1))):
        selection = auto(model.embeddings, model.labeled, 5, np.random.default_rng(1), probs, known)
        np.testing.assert_array_equal(selection.indices, plain)


def test_auto_chooses_as_the_strategy_that_it_found(monkeypatch):
    model, labels = scene()
    inputs = (model.embeddings, model.labeled, 5)
    monkeypatch.setattr(auto_module, "most_missed", lambda *_: "margin")
    selection = auto(*inputs, np.random.default_rng(0), model.probs, labels)
    np.testing.assert_array_equal(selection.indices, margin(model.probs, model.labeled, 5).indices)
    assert selection.scores.tolist() == (-margins(model.probs)[selection.indices]).tolist()
    monkeypatch.setattr(auto_module, "most_missed", lambda *_: "random")
    drawn = {tuple(auto(*inputs, np.random.default_rng(s), model.probs, labels).indices) for s in range(5)}
    assert len(drawn) == 5


def test_the_least_typical_is_the_one_far_from_the_others():
    points = np.r_[np.random.default_rng(0).normal(size=(20, 2)), [[9.0, 9.0]]].astype(np.float32)
    assert least_typical_rows(points, 1, np.random.default_rng(0)).tolist() == [20]
    assert len(set(least_typical_rows(np.zeros((6, 2), np.float32), 4, np.random.default_rng(0)))) == 4


# ---- runtime


def test_the_forecast_counts_images_of_a_subset():
    many, few = (operations(strategies.get("refine"), n, 64, 20, {"batches": 10}) for n in (10**6, 5000))
    assert many == few == 700 * 10 * 5000 * 64 * 20
    assert operations(strategies.get("refine"), 1000, 64, 20, {"batches": 10}) == few / 5


# ---- uherding with a calibrated temperature


def test_a_calibrated_temperature_is_that_number():
    model, _ = scene(labeled=20)
    inputs = (model.embeddings, model.labeled, 6, np.random.default_rng(0), model.probs)
    selection = uherding(*inputs, np.array([3.7]), temperature="calibrated")
    plain = uherding(*inputs, temperature=3.7)
    np.testing.assert_array_equal(selection.indices, plain.indices)
    np.testing.assert_array_equal(selection.scores, plain.scores)
    assert selection.scores.tolist() != uherding(*inputs, np.array([3.7])).scores.tolist()
    with pytest.raises(UserError, match=r"temperature = 'calibrated' needs classifiers trained on parts of the labels"):
        uherding(*inputs, temperature="calibrated")
    method = strategies.get("uherding")
    assert method.validate({"temperature": 2})["temperature"] == 2
    with pytest.raises(UserError, match=r"temperature = 'warm' is not valid: it should be a valid number or 'calibr"):
        method.validate({"temperature": "warm"})
    with pytest.raises(UserError, match=r"temperature = -1 is not valid: it should be greater than 0 or 'calibrated'"):
        method.validate({"temperature": -1})
    # Without a model there is nothing to calibrate.
    uherding(*inputs[:4], temperature="calibrated")


def test_the_temperature_is_fitted_on_images_that_the_model_has_not_seen():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    # Right in 8 of 10 cases, and as sure as 1 in e⁶: the temperature that says 8 of 10 is 6 / ln 8.
    predictions = np.where(rng.random(300) < 0.8, labels, (labels + 1) % 3)
    rows, trained = rng.permutation(1000)[:300], []

    class Model:
        def logits(self, inputs):
            return 6.0 * np.eye(3)[inputs]

    def fit(some, seed):
        trained.append(set(some))
        return Model()

    temperature = calibration_of(fit, predictions, rows, labels, np.arange(300), 3, seed=1)
    assert temperature.shape == (1,) and temperature[0] == pytest.approx(6 / np.log(8), rel=0.15)
    # Five models, each without a fifth of the images; every image is left out once.
    assert [len(each) for each in trained] == [240] * 5
    assert sum((Counter(set(rows) - each) for each in trained), Counter()) == Counter(rows)
    np.testing.assert_array_equal(calibration_of(fit, predictions, rows, labels, np.zeros(300, int), 3, seed=1), [1.0])
