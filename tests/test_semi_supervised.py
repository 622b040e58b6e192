"""Semi-supervised learners: against scikit-learn, closed forms and the published rules, and what they may read."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import Initpools
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier
from test_active_learning import CPU, PROTOCOL, experiment
from test_learners import blobs, toy_images
from test_learners import pretrained as weights

from initpools_cli.training.active_learning import first_pool, run_block, start_cells
from initpools_cli.training.experiment import BlockJob, Experiment
from initpools_cli.training.learners import label_spreading as spreading
from initpools_cli.training.learners.finetune import PretrainedEncoder
from initpools_cli.training.learners.flexmatch import Curriculum, FlexMatchTrainer, flexmatch
from initpools_cli.training.learners.label_spreading import label_spreading, neighbor_graph, spread
from initpools_cli.training.learners.linear import linear
from initpools_cli.training.learners.registry import learners, softmax
from initpools_cli.training.learners.self_training import self_training
from initpools_cli.training.logistic import sigmoid
from initpools_cli.training.network import Network
from initpools_cli.training.trainer import TrainConfig

__all__ = ["weights"]

SEMI = [method.name for method in learners if method.traits.unlabeled]


def partly(n: int, known: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points of three classes, their labels, and the labels of which `known` are kept and the others are -1."""
    points, truth = blobs(n, seed=seed)
    # Few random points may lack a class.
    while len(np.unique(truth)) < 3:
        seed += 1000
        points, truth = blobs(n, seed=seed)
    labels = np.full(n, -1)
    rows = np.r_[[np.flatnonzero(truth == k)[0] for k in range(3)], np.random.default_rng(seed).permutation(n)][:known]
    labels[rows] = truth[rows]
    return points, truth, labels


@settings(max_examples=25, deadline=None)
@given(
    st.integers(12, 40), st.integers(3, 8), st.integers(1, 11), st.sampled_from([0.2, 0.5, 0.95]), st.integers(0, 99)
)
def test_label_spreading_is_that_of_scikit_learn(n: int, known: int, k: int, alpha: float, seed: int) -> None:
    points, _, labels = partly(n, known, seed)
    unit = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
    cosines = unit.astype(np.float64) @ unit.T.astype(np.float64)

    def kernel(rows: np.ndarray, shown: np.ndarray) -> np.ndarray:
        if rows is not shown:
            near = rows.astype(np.float64) @ shown.astype(np.float64).T
            return (near >= np.sort(near, axis=0)[-k]).astype(float)
        others = cosines - 9 * np.eye(n)
        directed = others >= np.sort(others, axis=1)[:, [-k]]
        return (directed | directed.T).astype(float)

    theirs = LabelSpreading(kernel=kernel, alpha=alpha, max_iter=10_000, tol=1e-13).fit(unit, labels)
    ours = label_spreading(points, labels, 3, 0, None, k=k, alpha=alpha, smoothing=1e-9)
    np.testing.assert_allclose(ours.shares, theirs.label_distributions_, atol=1e-6)
    new = blobs(7, seed=seed + 1)[0]
    new /= np.linalg.norm(new, axis=1, keepdims=True)
    reached = theirs.label_distributions_.sum(axis=1) > 0
    if reached.all():
        np.testing.assert_allclose(softmax(ours.logits(new)), theirs.predict_proba(new), atol=1e-6)


def test_spreading_over_scikit_learns_own_graph_is_its_label_spreading() -> None:
    points, _, labels = partly(150, 12)
    theirs = LabelSpreading(kernel="knn", n_neighbors=7, alpha=0.8, max_iter=10_000, tol=1e-13).fit(points, labels)
    graph = theirs.nn_fit.kneighbors_graph(points, 7).tolil()
    graph.setdiag(0)
    given_labels = np.eye(3)[labels] * (labels >= 0)[:, None]
    mass = spread(csr_array(graph.tocsr()), given_labels, 0.8)
    np.testing.assert_allclose(mass / mass.sum(axis=1, keepdims=True), theirs.label_distributions_, atol=1e-6)


def test_spreading_solves_the_linear_system_of_the_paper() -> None:
    points, _, labels = partly(60, 9)
    graph = neighbor_graph(points, 5)
    dense = graph.toarray()
    assert np.array_equal(dense, dense.T) and not dense.diagonal().any() and {*dense.ravel()} == {0.0, 1.0}
    scale = dense.sum(axis=0) ** -0.5
    given_labels = np.eye(3)[labels] * (labels >= 0)[:, None]
    exact = 0.1 * np.linalg.solve(np.eye(60) - 0.9 * scale[:, None] * dense * scale, given_labels)
    np.testing.assert_allclose(spread(graph, given_labels, 0.9), exact, atol=1e-8)


def test_label_spreading_follows_a_bent_class_where_its_labels_do_not() -> None:
    angle = np.linspace(0, np.pi, 150)
    moons = np.r_[np.c_[np.cos(angle), np.sin(angle)], np.c_[1 - np.cos(angle), 0.5 - np.sin(angle)]]
    points = np.c_[moons, np.full(300, 2.0)].astype(np.float32)
    truth, labels = np.repeat([0, 1], 150), np.full(300, -1)
    labels[[0, 299]] = truth[[0, 299]]
    right = label_spreading(points, labels, 2, 0, None, k=4, alpha=0.9).logits(points).argmax(1) == truth
    supervised = linear(points[[0, 299]], truth[[0, 299]], 2, 0, None).logits(points).argmax(1) == truth
    assert right.mean() > 0.98 > supervised.mean()


def test_images_that_no_label_reaches_get_equal_probabilities() -> None:
    points = np.r_[np.eye(3, dtype=np.float32)[[0] * 4], np.eye(3, dtype=np.float32)[[1] * 4]]
    labels = np.array([2, *[-1] * 7])
    model = label_spreading(points, labels, 3, 0, None, k=2)
    assert model.reached.tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    np.testing.assert_allclose(softmax(model.logits(points))[4:], 1 / 3)


def test_the_spread_of_labels_does_not_depend_on_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    points, _, labels = partly(700, 20)
    logits = []
    for threads in (1, 3):
        monkeypatch.setattr("initpools_cli.geometry.chunked.available_threads", lambda own=threads: own)
        spreading._graphs.clear()
        logits.append(label_spreading(points, labels, 3, 0, None).logits(points).tobytes())
    assert logits[0] == logits[1]


class OurLinear(ClassifierMixin, BaseEstimator):
    """The learner `linear` for scikit-learn."""

    def fit(self, points: np.ndarray, labels: np.ndarray) -> OurLinear:
        self.classes_ = np.arange(3)
        self.model_ = linear(points, labels, 3, 0, None, tolerance=1e-9)
        return self

    def predict_proba(self, points: np.ndarray) -> np.ndarray:
        return softmax(self.model_.logits(points))


@settings(max_examples=15, deadline=None)
@given(st.integers(3, 9), st.sampled_from([0.0, 0.5, 0.6, 0.75, 0.95]), st.integers(1, 5), st.integers(0, 99))
def test_self_training_is_that_of_scikit_learn(known: int, threshold: float, most: int, seed: int) -> None:
    points, _, labels = partly(40, known, seed)
    theirs = SelfTrainingClassifier(OurLinear(), threshold=threshold, max_iter=most).fit(points, labels)
    ours = self_training(points, labels, 3, 0, None, threshold=threshold, iterations=most, tolerance=1e-9)
    np.testing.assert_allclose(softmax(ours.logits(points)), theirs.predict_proba(points), atol=1e-6)


def test_self_training_with_a_threshold_of_1_is_linear() -> None:
    points, _, labels = partly(50, 8)
    known = labels >= 0
    alone = linear(points[known], labels[known], 3, 0, None)
    assert np.array_equal(self_training(points, labels, 3, 0, None, threshold=1.0).head, alone.head)


def test_several_labels_spread_each_for_itself_and_self_training_takes_sure_sets() -> None:
    rng = np.random.default_rng(0)
    truth = (rng.random((120, 2)) < 0.5).astype(np.int8)
    points = (4 * truth @ rng.normal(size=(2, 4)) + rng.normal(size=(120, 4)) + 1).astype(np.float32)
    labels = truth.copy()
    labels[20:] = -1
    model = label_spreading(points, labels, 2, 0, None, smoothing=1e-9)
    for k in range(2):
        alone = label_spreading(points, labels[:, k].astype(np.int64), 2, 0, None, smoothing=1e-9)
        np.testing.assert_allclose(sigmoid(model.logits(points))[:, k], softmax(alone.logits(points))[:, 1], atol=1e-6)
    right = (self_training(points, labels, 2, 0, None).logits(points[20:]) > 0) == truth[20:]
    assert right.mean() > 0.85


def test_validation_chooses_neighbors_and_threshold() -> None:
    points, truth, labels = partly(80, 9)
    wrong = (points, (truth + 1) % 3)
    for build in (label_spreading, self_training):
        kept, last = (build(points, labels, 3, 0, CPU, held_out) for held_out in (wrong, None))
        losses = [-np.log(softmax(model.logits(points))[np.arange(80), wrong[1]]).mean() for model in (kept, last)]
        assert losses[0] < losses[1]


def naive_mask(batches: list[tuple[np.ndarray, np.ndarray]], images: int, cutoff: float) -> list[np.ndarray]:
    """The rule of curriculum pseudo labeling, counted image by image."""
    chosen, masks = dict.fromkeys(range(images), -1), []
    for rows, probs in batches:
        counts = Counter(chosen.values())
        status = [0.0] * probs.shape[1]
        if counts[-1] < images:
            most = max(counts.values())
            status = [counts[k] / most for k in range(probs.shape[1])]
        mask = []
        for row, own in zip(rows, probs, strict=True):
            k = int(own.argmax())
            mask.append(own[k] >= np.float32(cutoff * status[k] / (2 - status[k])))
            if own[k] >= np.float32(cutoff):
                chosen[int(row)] = k
        masks.append(np.array(mask))
    return masks


@settings(max_examples=30, deadline=None)
@given(st.integers(4, 12), st.sampled_from([0.5, 0.7, 0.95]), st.integers(0, 10**6))
def test_thresholds_of_flexmatch_rise_with_what_is_learned_of_a_class(images: int, cutoff: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    batches = [
        (rng.choice(images, 4, replace=False), softmax(rng.normal(size=(4, 3)) * 3).astype(np.float32))
        for _ in range(8)
    ]
    curriculum = Curriculum(images, 3, cutoff, CPU)
    for (rows, probs), expected in zip(batches, naive_mask(batches, images, cutoff), strict=True):
        predicted, above = curriculum.select(torch.from_numpy(rows), torch.from_numpy(probs))
        assert np.array_equal(predicted.numpy(), probs.argmax(1)) and np.array_equal(above.numpy(), expected)


def test_flexmatch_learns_from_images_without_labels(weights: PretrainedEncoder) -> None:
    images, truth = toy_images(40)
    labels = np.full(40, -1)
    labels[[0, 1]] = truth[[0, 1]]
    short = {"steps": 60, "recipe": "none", "strong": "shift", "batch": 8}
    model = flexmatch(images, labels, 2, 0, CPU, weights, **short)
    assert (model.logits(images).argmax(1) == truth).mean() > 0.95
    network = Network(weights.encoder(), 2, 0)
    config = TrainConfig(1, 1, 8, "adamw", 1e-3, 0.0, "constant")
    arguments = {"recipes": ("none", "none"), "unlabeled": 16, "weight": 1.0, "cutoff": 0.95}
    trainer = FlexMatchTrainer(network, images, np.arange(2), truth[:2], config, 0, CPU, **arguments)
    dropped = np.random.default_rng(0)
    # Nothing is confident yet, so that thresholds are 0 and every image counts, by its own prediction.
    both = trainer.batch_loss(np.arange(2), dropped, lambda *each: None)
    trainer.weight = 0.0
    network.eval()
    assert both > trainer.batch_loss(np.arange(2), dropped, lambda *each: None) > 0


@pytest.mark.parametrize("name", SEMI)
def test_all_images_labeled_is_no_error(name: str, weights: PretrainedEncoder) -> None:
    method = learners.get(name)
    inputs, labels = toy_images(24) if method.inputs[0] == "images" else blobs(24, 2)
    begun = {"encoder": weights} if "encoder" in method.inputs else {}
    knobs = method.validate({"steps": 3} if "steps" in method.knobs else {})
    model = method.build(inputs, labels, 2, 0, CPU, **begun, **knobs)
    assert (model.logits(inputs).argmax(1) == labels).mean() > 0.4


@pytest.mark.parametrize("validation", ["none", "from-budget"])
@pytest.mark.parametrize("name", ["label-spreading", "self-training"])
def test_a_sweep_gives_all_candidates_and_only_the_labels_that_are_bought(
    name: str, validation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, seen = learners.get(name), []

    def watched(inputs: np.ndarray, labels: np.ndarray, *rest: object, **knobs: object) -> object:
        seen.append((inputs, labels))
        return method.build(inputs, labels, *rest, **knobs)

    monkeypatch.setitem(learners._methods, name, replace(method, build=watched))
    data, protocol = experiment(), replace(PROTOCOL, validation=validation, learners={name: method.validate({})})
    trials = Experiment(data, protocol, CPU)
    cells = start_cells({0: first_pool("random", 0, trials)}, trials)
    rounds = list(run_block(BlockJob("e", "random", "margin", name, [0], True), cells, trials))
    assert [measured.row["leaks"] for (measured,) in rounds] == [0, 0, 0, 0]
    for (inputs, labels), (measured,) in zip(seen, rounds, strict=True):
        rows = cells[0].candidates
        assert np.array_equal(inputs, data.inputs["embeddings"]["train"][rows])
        bought = (
            measured.row["labeled"]
            if validation == "none"
            else measured.row["labeled"] - max(1, round(0.2 * measured.row["labeled"]))
        )
        known = labels >= 0
        assert known.sum() == bought and np.array_equal(labels[known], data.labels["train"][rows][known])


def test_semi_supervised_learners_work_in_sweeps_and_rounds(copied_run: Path, initpools: Initpools) -> None:
    words = ("al-run", "--init", "random,kmeans", "--budget", 10, "--rounds", 1, "--seeds", 2, "--threads", 1)
    swept = initpools(*words, "--query", "badge", "--learner", "label-spreading,self-training", "--name", "semi")
    assert swept.code == 0 and "label-spreading on" in swept.err
    rounds = pd.read_csv(copied_run / "runs/digits/al/semi/rounds.csv")
    assert (rounds["status"] == "ok").all() and not rounds["leaks"].any()
    refused = initpools(*words, "--query", "badge,alfamix", "--learner", "label-spreading", "--name", "no")
    assert refused.code == 2 and "which the learner label-spreading does not provide" in refused.err
    assert "--learner: finetune, flexmatch, linear" in refused.err
    assert initpools("select-pool", "kmeans", "--budget", 20, "--with-labels", "-o", "pool.csv").code == 0
    labeled = initpools("al-run", "--labels", "pool.csv", "--learner", "label-spreading", "--next", "next.csv")
    assert labeled.code == 0 and (copied_run / "next.csv").exists()
    assert "20 new labels" in labeled.err and "not with label-spreading" in labeled.err
