"""Learners, metrics and the active-learning loop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, log_loss, roc_auc_score

from initpools_cli.analysis.metrics import calibration_error, classification_metrics
from initpools_cli.training.labels import LabelDoor
from initpools_cli.training.learners.linear import linear
from initpools_cli.training.learners.registry import softmax
from initpools_cli.training.learners.scratch import scratch
from initpools_cli.training.rounds import COLUMNS, Arena, Protocol, candidate_set, run_cell

CPU = torch.device("cpu")


def blobs(n: int, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    return (3 * np.eye(classes, 4)[labels] + rng.normal(size=(n, 4))).astype(np.float32), labels


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 5), st.integers(0, 10**6))
def test_metrics_equal_those_of_scikit_learn(classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.r_[np.arange(classes), rng.integers(0, classes, 40)]
    probs = softmax(np.round(rng.normal(size=(len(labels), classes)), 1))
    found = classification_metrics(probs, labels)
    areas = [roc_auc_score(labels == k, probs[:, k]) for k in range(classes)]
    assert found["auc"] == pytest.approx(np.mean(areas))
    assert found["nll"] == pytest.approx(log_loss(labels, probs, labels=range(classes)))
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, probs.argmax(1)))
    assert found["absent_classes"] == 0


def test_an_absent_class_is_counted_and_left_out() -> None:
    probs = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.7, 0.2, 0.1]])
    found = classification_metrics(probs, np.array([0, 1, 0]))
    assert (found["absent_classes"], found["auc"], found["accuracy"], found["balanced_accuracy"]) == (1, 1.0, 1.0, 1.0)
    alone = classification_metrics(probs, np.array([0, 0, 0]))
    assert np.isnan(alone["auc"]) and alone["absent_classes"] == 2


def test_calibration_in_closed_form() -> None:
    sure = np.array([[1.0, 0.0]] * 4)
    assert calibration_error(sure, np.array([0, 0, 0, 0])) == 0
    assert calibration_error(sure, np.array([0, 0, 0, 1])) == pytest.approx(0.25)


def test_linear_is_the_optimum_of_its_objective() -> None:
    inputs, labels = blobs(60)
    model = linear(inputs, labels, 3, 0, CPU, penalty=0.1)
    with_one = np.c_[inputs, np.ones(60)]
    theirs = LogisticRegression(C=1 / (0.1 * 60), tol=1e-8, max_iter=5000, fit_intercept=False).fit(with_one, labels)
    np.testing.assert_allclose(softmax(model.logits(inputs)), theirs.predict_proba(with_one), atol=1e-4)


def test_linear_knows_classes_it_has_not_seen() -> None:
    inputs, labels = blobs(10)
    only = labels == labels[0]
    probs = softmax(linear(inputs[only], labels[only], 3, 0, CPU).logits(inputs))
    assert (probs.argmax(1) == labels[0])[only].all()
    assert probs.min() > 1e-4


def test_scratch_starts_anew_and_repeats_itself() -> None:
    shown, labels = toy_images(24)
    state = torch.random.get_rng_state()
    first = scratch(shown, labels, 2, 0, CPU, epochs=1, steps=4, width=0.25).logits(shown)
    again = scratch(shown, labels, 2, 0, CPU, epochs=1, steps=4, width=0.25).logits(shown)
    other = scratch(shown, labels, 2, 1, CPU, epochs=1, steps=4, width=0.25).logits(shown)
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)
    assert torch.equal(state, torch.random.get_rng_state())


def test_scratch_learns() -> None:
    shown, labels = toy_images(40)
    model = scratch(shown[:24], labels[:24], 2, 0, CPU, width=0.25)
    assert (model.logits(shown[24:]).argmax(1) == labels[24:]).mean() > 0.9


def test_the_best_epoch_is_really_its_weights() -> None:
    """With validation labels that contradict the training, the first epochs are the best, and the last are not kept."""
    shown, labels = toy_images(24)
    wrong = (shown, 1 - labels)
    kept = scratch(shown, labels, 2, 0, CPU, wrong, epochs=1, steps=15, width=0.25)
    last = scratch(shown, labels, 2, 0, CPU, None, epochs=1, steps=15, width=0.25)
    assert log_loss(wrong[1], softmax(kept.logits(shown))) < log_loss(wrong[1], softmax(last.logits(shown)))


def test_one_labelled_image_is_enough_to_run() -> None:
    shown, labels = toy_images(5)
    assert np.isfinite(scratch(shown[:1], labels[:1], 2, 0, CPU, epochs=1, steps=1, width=0.25).logits(shown)).all()


def toy_images(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 2
    noise = rng.integers(0, 60, (n, 8, 8, 1))
    return (noise + 180 * labels[:, None, None, None]).astype(np.uint8), labels


def test_the_door_counts_what_was_not_paid_for() -> None:
    door = LabelDoor(np.arange(10))
    door.buy(np.array([1, 2]))
    assert door.read(np.array([1, 2])).tolist() == [1, 2] and door.leaks == 0
    door.read(np.array([2, 3]))
    door.leak(np.arange(4))
    assert door.leaks == 5


def arena() -> tuple[Arena, Protocol]:
    train, labels = blobs(80)
    test, test_labels = blobs(40, seed=1)
    given = {name: {"embeddings": train} for name in ("random", "kcenter", "margin", "entropy")}
    strategy = {name: (name, {}) for name in given}
    ground = Arena(
        inputs={"embeddings": {"train": train, "test": test, "val": test[:10]}},
        given=given,
        strategy=strategy,
        labels=labels,
        test_labels=test_labels,
        val_labels=test_labels[:10],
        kept=np.ones(80, dtype=bool),
        classes=3,
        encoder="e",
    )
    return ground, Protocol(5, 4, 3, 0.5, "none", 0, True, "none", 0)


@pytest.mark.parametrize("query", ["random", "kcenter", "margin", "entropy"])
def test_a_cell_buys_exactly_its_budget_from_its_candidates(query: str) -> None:
    ground, protocol = arena()
    rows, picks = run_cell("random", query, "linear", 2, ground, protocol, CPU, with_first=True)
    assert [row["labeled"] for row in rows] == [5, 9, 13, 17]
    assert [row["query"] for row in rows] == ["", query, query, query]
    assert len(set(picks.tolist())) == 17
    assert set(picks.tolist()) <= set(candidate_set(ground, protocol, 2).tolist())
    assert set(rows[0]) == set(COLUMNS)
    assert all(row["leaks"] == 0 for row in rows)


def test_inits_and_queries_share_candidates_and_seeds_vary_them() -> None:
    ground, protocol = arena()
    sets = [candidate_set(ground, protocol, root) for root in (0, 0, 1)]
    assert np.array_equal(sets[0], sets[1]) and not np.array_equal(sets[0], sets[2])
    assert len(sets[0]) == 40
    first = [run_cell("kcenter", "margin", "linear", i, ground, protocol, CPU, with_first=True)[0] for i in (0, 1, 2)]
    assert len({rows[0]["accuracy"] for rows in first} | {rows[0]["nll"] for rows in first}) > 2


def test_validation_is_paid_for_or_flagged() -> None:
    ground, protocol = arena()
    paid, _ = run_cell(
        "random", "margin", "linear", 0, ground, replace(protocol, validation="from-budget"), CPU, with_first=True
    )
    free, _ = run_cell(
        "random", "margin", "linear", 0, ground, replace(protocol, validation="free-val"), CPU, with_first=True
    )
    assert [row["leaks"] for row in paid] == [0, 0, 0, 0]
    assert [row["leaks"] for row in free] == [10, 20, 30, 40]
    assert {row["validation"] for row in free} == {"free-val"}
