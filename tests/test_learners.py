"""Learners and metrics."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, log_loss, roc_auc_score

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import sha256_of
from initpools_cli.core.seeds import generator
from initpools_cli.networks.build import Encoder, build_encoder
from initpools_cli.networks.weights import save_weights
from initpools_cli.pretext.simclr import SimCLR
from initpools_cli.stats.metrics import calibration_error, classification_metrics
from initpools_cli.strategies.bald import information
from initpools_cli.training.learners.finetune import PretrainedEncoder, finetune
from initpools_cli.training.learners.knn import knn
from initpools_cli.training.learners.linear import linear
from initpools_cli.training.learners.mlp import mlp
from initpools_cli.training.learners.registry import Classifier, learners, softmax
from initpools_cli.training.learners.scratch import scratch
from initpools_cli.training.network import Network, mc_logits
from initpools_cli.training.trainer import TrainConfig, Trainer

CPU = torch.device("cpu")
#: So that a network learns little, quickly.
SHORT = {"epochs": 1, "steps": 4, "width": 0.25}


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
    metrics = classification_metrics(probs, labels)
    areas = [roc_auc_score(labels == k, probs[:, k]) for k in range(classes)]
    assert metrics["auc"] == pytest.approx(np.mean(areas))
    assert metrics["nll"] == pytest.approx(log_loss(labels, probs, labels=range(classes)))
    assert metrics["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, probs.argmax(1)))
    assert metrics["absent_classes"] == 0


def test_an_absent_class_is_counted_and_left_out() -> None:
    probs = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.7, 0.2, 0.1]])
    scores = classification_metrics(probs, np.array([0, 1, 0]))
    assert (scores["absent_classes"], scores["auc"], scores["accuracy"], scores["balanced_accuracy"]) == (
        1,
        1.0,
        1.0,
        1.0,
    )
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
    images, labels = toy_images(24)
    state = torch.random.get_rng_state()
    first = scratch(images, labels, 2, 0, CPU, epochs=1, steps=4, width=0.25).logits(images)
    again = scratch(images, labels, 2, 0, CPU, epochs=1, steps=4, width=0.25).logits(images)
    other = scratch(images, labels, 2, 1, CPU, epochs=1, steps=4, width=0.25).logits(images)
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)
    assert torch.equal(state, torch.random.get_rng_state())


def test_scratch_learns() -> None:
    images, labels = toy_images(40)
    model = scratch(images[:24], labels[:24], 2, 0, CPU, width=0.25)
    assert (model.logits(images[24:]).argmax(1) == labels[24:]).mean() > 0.9


def test_the_best_epoch_is_really_its_weights() -> None:
    """With validation labels that contradict the training, the first epochs are the best, and the last are not kept."""
    images, labels = toy_images(24)
    wrong = (images, 1 - labels)
    best = scratch(images, labels, 2, 0, CPU, wrong, epochs=1, steps=15, width=0.25)
    last = scratch(images, labels, 2, 0, CPU, None, epochs=1, steps=15, width=0.25)
    assert log_loss(wrong[1], softmax(best.logits(images))) < log_loss(wrong[1], softmax(last.logits(images)))


def test_one_labeled_image_is_enough_to_run() -> None:
    images, labels = toy_images(5)
    assert np.isfinite(scratch(images[:1], labels[:1], 2, 0, CPU, epochs=1, steps=1, width=0.25).logits(images)).all()


def toy_images(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 2
    noise = rng.integers(0, 60, (n, 8, 8, 1))
    return (noise + 180 * labels[:, None, None, None]).astype(np.uint8), labels


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> PretrainedEncoder:
    weights = tmp_path_factory.mktemp("pretrain") / "encoder.safetensors"
    save_weights(SimCLR(build_encoder("convnet", channels=1, size=8, width=0.25, seed=5), "simclr", 5), weights)
    return PretrainedEncoder(str(weights), "convnet", 0.25, 1, 8, sha256_of(weights))


def fitted(
    name: str, pretrained: PretrainedEncoder, seed: int = 0, count: int = 24, **overrides: object
) -> tuple[Classifier, np.ndarray]:
    """A learner of that name on toy data of two among three classes, briefly, and what it was fitted on."""
    method = learners.get(name)
    inputs, labels = toy_images(24) if method.inputs[0] == "images" else blobs(24, 2)
    initial = {"encoder": pretrained} if "encoder" in method.inputs else {}
    short = {key: value for key, value in SHORT.items() if key in method.knobs}
    knobs = method.validate({**short, **overrides})
    return method.build(inputs[:count], labels[:count], 3, seed, CPU, **initial, **knobs), inputs


@pytest.mark.parametrize("name", learners.names())
def test_a_learner_gives_what_it_says(name: str, pretrained: PretrainedEncoder) -> None:
    gives = {*learners.get(name).traits.gives}
    before = torch.random.get_rng_state()
    model, inputs = fitted(name, pretrained)
    logits = model.logits(inputs)
    assert logits.shape == (24, 3) and logits.dtype == np.float64
    np.testing.assert_allclose(model.logits(inputs[5:9]), logits[5:9], atol=1e-5)
    if "features" in gives:
        features = model.features(inputs)
        assert features.shape[0] == 24 and features.dtype == np.float32
    if "head" in gives:
        assert model.head.dtype == np.float64
        np.testing.assert_allclose(np.c_[features, np.ones(24)] @ model.head, logits, atol=1e-4)
    if "mc_probs" in gives:
        passes = model.mc_logits(inputs, passes=5, seed=1)
        assert passes.shape == (5, 24, 3) and passes.std(axis=0).min() > 0
        assert np.array_equal(passes, model.mc_logits(inputs, passes=5, seed=1))
        assert not np.array_equal(passes, model.mc_logits(inputs, passes=5, seed=2))
        certain, _ = fitted(name, pretrained, dropout=0.0)
        for one in certain.mc_logits(inputs, passes=2, seed=1):
            np.testing.assert_allclose(one, certain.logits(inputs), atol=1e-5)
    if "view_probs" in gives:
        assert model.view_logits(inputs, views=2, seed=1).shape == (2, 24, 3)
    assert np.array_equal(model.logits(inputs), logits)
    assert np.array_equal(fitted(name, pretrained)[0].logits(inputs), logits)
    assert np.array_equal(fitted(name, pretrained, seed=1)[0].logits(inputs), logits) == ("member_probs" not in gives)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("name", learners.names())
def test_one_label_is_enough(name: str, pretrained: PretrainedEncoder) -> None:
    model, inputs = fitted(name, pretrained, count=1)
    probs = softmax(model.logits(inputs))
    assert np.isfinite(np.log(probs)).all() and probs.shape == (24, 3)


@pytest.mark.parametrize("name", learners.names())
def test_presets_are_knobs_that_the_learner_has(name: str) -> None:
    presets = learners.get(name).traits.presets
    assert {"quick", "reference"} <= {*presets}
    for knobs in presets.values():
        learners.get(name).validate(knobs)


@pytest.mark.parametrize("knobs", [{"recipe": "wek"}, {"network": "convnt"}, {"dropout": 1.0}, {"optimizer": "adm"}])
def test_a_slip_in_a_knob_is_told_before_anything_is_trained(knobs: dict[str, object]) -> None:
    with pytest.raises(UserError, match=r"wek|convnt|dropout|adm"):
        learners.get("scratch").validate(knobs)


def test_passes_have_the_mean_and_the_variance_of_dropout() -> None:
    """Of a sum of features that are each kept with probability q and divided by it: Σ x² (1 − q) / q around Σ x."""
    rng = np.random.default_rng(0)
    features, head = rng.random((3, 8)).astype(np.float32), rng.normal(size=(9, 2))
    logits = mc_logits(features, head, 0.25, 40_000, 0)
    np.testing.assert_allclose(logits.mean(0), features @ head[:-1] + head[-1], atol=0.03)
    np.testing.assert_allclose(logits.var(0), features**2 @ head[:-1] ** 2 * (0.25 / 0.75), rtol=0.05)


class Whole(Encoder):
    """The inputs themselves."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs


@pytest.mark.parametrize("name", [method.name for method in learners if "mc_probs" in method.traits.gives])
def test_bald_of_a_learner_is_0_without_dropout_and_positive_with_it(name: str, pretrained: PretrainedEncoder) -> None:
    for dropout in (0.0, 0.5):
        model, inputs = fitted(name, pretrained, dropout=dropout)
        scores = information(softmax(model.mc_logits(inputs, passes=5, seed=1)))
        assert (scores == 0).all() if dropout == 0 else (scores > 0).all()


def test_sgd_with_a_cosine_is_nesterovs_by_hand() -> None:
    inputs, labels = blobs(12)
    network = Network(Whole(4), 3, seed=0)
    weight = network.last
    points = torch.from_numpy(inputs)
    config = TrainConfig(6, 0, 100, "sgd", 0.1, 0.01, "cosine")
    trainer = Trainer(network, lambda rows, epoch: points[rows], labels, config, 0, CPU)
    with_one, momentum = np.c_[inputs, np.ones(12)], 0.0
    for step in range(6):
        trainer.epoch()
        slope = with_one.T @ (softmax(with_one @ weight) - np.eye(3)[labels]) / 12 + 0.01 * weight
        momentum = 0.9 * momentum + slope
        weight = weight - 0.1 * (1 + np.cos(np.pi * step / 6)) / 2 * (slope + 0.9 * momentum)
    np.testing.assert_allclose(network.last, weight, atol=1e-5)


@pytest.mark.parametrize(("epochs", "steps", "expected"), [(3, 0, 3), (1, 7, 3), (5, 7, 5)])
def test_a_course_takes_its_epochs_or_as_many_as_its_steps(epochs: int, steps: int, expected: int) -> None:
    inputs, labels = blobs(12)
    points, order = torch.from_numpy(inputs), []

    def show(rows: np.ndarray, epoch: int) -> torch.Tensor:
        order.append((epoch, *rows))
        return points[rows]

    trainer = Trainer(
        Network(Whole(4), 3, 0), show, labels, TrainConfig(epochs, steps, 4, "adam", 0.1, 0.0, "constant"), 0, CPU
    )
    trainer.run()
    assert len(order) == 3 * expected and trainer.optimizer.param_groups[0]["lr"] == 0.1
    for epoch in range(expected):
        assert sorted(row for each in order for row in each[1:] if each[0] == epoch) == list(range(12))
    assert np.array_equal(np.concatenate([each[1:] for each in order[:3]]), generator(0, "order", 0).permutation(12))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30), st.integers(1, 12), st.booleans(), st.integers(0, 2**32))
def test_knn_votes_as_its_definition(m: int, k: int, on_a_grid: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = (rng.integers(1, 4, (m + 5, 3)) if on_a_grid else rng.normal(size=(m + 5, 3))).astype(np.float32)
    labels = rng.integers(0, 3, m)
    probabilities = softmax(knn(points[:m], labels, 4, 0, None, k=k, temperature=0.5, smoothing=0.2).logits(points[m:]))
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    for probs, one in zip(probabilities, unit[m:], strict=True):
        cosines = unit[:m] @ one
        votes = np.zeros(4)
        for row in range(m):
            # Those that are as near as the k-th, but for rounding, vote too.
            if np.sum(cosines > cosines[row] + 1e-5) < k:
                votes[labels[row]] += np.exp(cosines[row] / 0.5)
        used = min(k, m)
        expected = (used * votes / votes.sum() + 0.2) / (used + 4 * 0.2)
        np.testing.assert_allclose(probs, expected, atol=1e-4)


def test_mlp_learns_what_is_not_linear() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(400, 4)).astype(np.float32)
    labels = (points[:, 0] * points[:, 1] > 0).astype(np.int64)
    bent = mlp(points[:300], labels[:300], 2, 0, CPU, steps=300)
    flat = linear(points[:300], labels[:300], 2, 0, CPU)
    right = [(model.logits(points[300:]).argmax(1) == labels[300:]).mean() for model in (bent, flat)]
    assert right[0] > 0.85 > 0.65 > right[1]


def test_validation_chooses_epochs_and_neighbors() -> None:
    inputs, labels = blobs(40)
    wrong = (inputs, (labels + 1) % 3)
    for build in (mlp, knn):
        best, last = (build(inputs, labels, 3, 0, CPU, held_out) for held_out in (wrong, None))
        assert log_loss(wrong[1], softmax(best.logits(inputs))) < log_loss(wrong[1], softmax(last.logits(inputs)))


def test_finetune_begins_with_the_pretrained_weights(pretrained: PretrainedEncoder) -> None:
    images, labels = toy_images(24)
    first = pretrained.encoder().state_dict()
    model = finetune(
        images, labels, 2, 0, CPU, pickle.loads(pickle.dumps(pretrained)), encoder_rate=0.0, steps=4, epochs=1
    )
    trained = dict(model.network.encoder.named_parameters())
    assert all(torch.equal(first[name], value) for name, value in trained.items())
    moved = finetune(images, labels, 2, 0, CPU, pretrained, steps=4, epochs=1).network.encoder
    assert not any(torch.equal(first[name], value) for name, value in moved.named_parameters())
    assert (finetune(images, labels, 2, 0, CPU, pretrained).logits(images).argmax(1) == labels).mean() > 0.9


def test_finetune_refuses_weights_of_another_network(pretrained: PretrainedEncoder, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not match the network"):
        PretrainedEncoder(pretrained.weights, "convnet", 0.5, 1, 8, pretrained.sha256).encoder()
    with pytest.raises(UserError, match="no weights file"):
        PretrainedEncoder(str(tmp_path / "gone.safetensors"), "convnet", 0.25, 1, 8, pretrained.sha256).encoder()
