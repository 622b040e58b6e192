"""What features are worth: closed forms, naive twins, and what the commands say of good and of collapsed ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tomli
from conftest import FAST, Initpools
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from initpools_cli.geometry.effective_rank import rankme
from initpools_cli.geometry.neighbors import nearest_k
from initpools_cli.training.feature_quality import (
    PENALTY,
    PROBED,
    RANKED,
    TEMPERATURE,
    collapse_below,
    feature_rank,
    knn_accuracy,
    linear_accuracy,
    probe_rows,
    sample_rows,
)

# ---- rank


def orthonormal(n: int, d: int, rng: np.random.Generator) -> np.ndarray:
    return np.linalg.qr(rng.normal(size=(max(n, d), min(n, d))))[0] if n >= d else orthonormal(d, n, rng).T


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_the_rank_of_orthonormal_directions_is_their_number(n: int, d: int, seed: int) -> None:
    assert rankme(orthonormal(n, d, np.random.default_rng(seed))) == pytest.approx(min(n, d), rel=1e-4)


def test_the_rank_of_one_direction_is_one_and_of_nothing_zero() -> None:
    rng = np.random.default_rng(0)
    line = rng.normal(size=(200, 1)) * rng.normal(size=(1, 64))
    assert rankme(line.astype(np.float32)) == pytest.approx(1, abs=1e-3)
    assert rankme(np.full((200, 64), 7.3, np.float32)) == pytest.approx(1, abs=1e-3)
    assert rankme(np.ones((1, 5))) == pytest.approx(1, abs=1e-3)
    assert rankme(np.zeros((9, 5), np.float32)) == 0


@given(st.integers(0, 99), st.floats(-30, 30))
@settings(max_examples=30, deadline=None)
def test_the_rank_is_that_of_the_singular_values_and_knows_no_rotation_or_scale(seed: int, power: float) -> None:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(40, 12)) * np.geomspace(1, 0.01, 12)
    values = np.linalg.svd(features, compute_uv=False)
    shares = values / values.sum() + 1e-7
    expected = float(np.exp(-(shares * np.log(shares)).sum()))
    assert rankme(features) == pytest.approx(expected, rel=1e-6)
    assert rankme(features @ orthonormal(12, 12, rng)) == pytest.approx(expected, rel=1e-6)
    assert rankme(orthonormal(40, 40, rng) @ features) == pytest.approx(expected, rel=1e-6)
    assert rankme(features * 10.0**power) == pytest.approx(expected, rel=1e-6)


def test_collapsed_features_are_told_from_healthy_ones() -> None:
    rng = np.random.default_rng(0)
    rows = np.arange(500)
    point = np.abs(rng.normal(size=64))
    healthy = [
        rng.normal(size=(500, 64)),
        np.maximum(rng.normal(size=(500, 64)), 0),
        point + 0.2 * rng.random((500, 64)),
    ]
    low = [np.tile(point, (500, 1)), point + 1e-5 * rng.normal(size=(500, 64)), rng.normal(size=(500, 1)) * point]
    for features in healthy:
        rank, most = feature_rank(features, rows)
        assert most == 64 and rank > 2 * collapse_below(most)
    for features in [*low, np.zeros((500, 64))]:
        rank, most = feature_rank(features, rows)
        assert rank < collapse_below(most)
    # Where there is one direction at most, nothing could collapse.
    for shape in ((1, 64), (500, 1)):
        rank, most = feature_rank(np.ones(shape), np.arange(shape[0]))
        assert rank >= collapse_below(most)


def test_samples_repeat_stay_in_bounds_and_in_order() -> None:
    rows = np.arange(3, 50_000, 2)
    assert sample_rows(rows, len(rows)) is rows
    some = sample_rows(rows, 100)
    assert len(some) == 100 and (np.diff(some) > 0).all() and np.isin(some, rows).all()
    assert np.array_equal(some, sample_rows(rows, 100))
    assert [len(probe_rows(rows, d)) for d in (256, 2**13, 2**26)] == [PROBED, 2**12, 1]
    features = np.broadcast_to(np.float32(1), (25_000, 256))
    assert feature_rank(features, rows[:12_000])[1] == 256 and RANKED < 12_000


# ---- accuracies


@given(st.integers(1, 12), st.integers(1, 25), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_nearest_of_other_points_are_those_of_sorting(k: int, m: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Whole numbers: many ties and duplicates.
    points, queries = (rng.integers(0, 3, (count, 3)).astype(np.float32) for count in (12, m))
    index, distance = nearest_k(queries, points, k)
    gaps = np.linalg.norm(queries[:, None] - points[None], axis=2)
    expected = np.argsort(gaps, axis=1, kind="stable")[:, :k]
    assert np.array_equal(index, expected)
    assert np.allclose(distance, np.take_along_axis(gaps, expected, axis=1))


def blobs(n: int, classes: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    labels = rng.integers(0, classes, n)
    return (rng.normal(size=(n, 6)) + 1.2 * np.eye(classes, 6)[labels]).astype(np.float32), labels


def test_the_vote_of_neighbors_agrees_with_a_loop() -> None:
    rng = np.random.default_rng(0)
    (train, labels), (test, truth) = blobs(90, 4, rng), blobs(60, 4, rng)
    right = 0
    for row, true in zip(test.astype(float), truth, strict=True):
        cosines = [row @ other / np.linalg.norm(row) / np.linalg.norm(other) for other in train.astype(float)]
        votes = [0.0] * 4
        for near in sorted(range(90), key=lambda i: -cosines[i])[:20]:
            votes[labels[near]] += np.exp(cosines[near] / TEMPERATURE)
        right += votes.index(max(votes)) == true
    assert knn_accuracy(train, labels, test, truth) == right / 60
    assert 0.3 < right / 60 < 1


def test_the_probe_is_scikit_learns_logistic_regression() -> None:
    rng = np.random.default_rng(1)
    (train, labels), (test, truth) = blobs(300, 4, rng), blobs(200, 4, rng)
    accuracy, converged = linear_accuracy(train, labels, test, truth)
    inputs = (train - train.mean(0)) / train.std(0)
    exact = LogisticRegression(C=1 / (PENALTY * 300), tol=1e-9, max_iter=10_000).fit(inputs, labels)
    assert converged
    assert accuracy == pytest.approx(exact.score((test - train.mean(0)) / train.std(0), truth), abs=0.01)
    shifted = linear_accuracy(1e3 * train - 5e3, labels, 1e3 * test - 5e3, truth)
    assert shifted[0] == pytest.approx(accuracy, abs=0.01)


def test_classes_that_train_or_test_lacks_are_no_hindrance() -> None:
    rng = np.random.default_rng(2)
    (train, labels), (test, truth) = blobs(100, 3, rng), blobs(50, 3, rng)
    for accuracy in (
        knn_accuracy(train, labels, test, np.full(50, 7)),
        linear_accuracy(train, labels, test, np.full(50, 7))[0],
    ):
        assert accuracy == 0
    lone = np.full(100, 2)
    assert knn_accuracy(train, lone, test, truth) == np.mean(truth == 2)
    assert linear_accuracy(train, lone, test, truth) == (np.mean(truth == 2), True)
    same = np.ones((100, 4), np.float32)
    assert 0 <= knn_accuracy(same, labels, same[:50], truth) <= 1
    assert 0 <= linear_accuracy(same, labels, same[:50], truth)[0] <= 1


# ---- commands


def test_embed_says_and_stores_what_features_are_worth(copied_run: Path, initpools: Initpools) -> None:
    stored = tomli.loads((copied_run / "runs/digits/embed/simclr/step.toml").read_text())["outcome"]
    assert 1 < stored["rank"] <= 64 and stored["measured_on"] == "test"
    result = initpools("embed", "pca", "--json")
    outcome = json.loads(result.out)["outcome"]
    assert 1 < outcome["rank"] <= 64 and outcome["knn_accuracy"] > 0.9 and outcome["linear_accuracy"] > 0.9
    assert (
        f"k-NN accuracy {outcome['knn_accuracy']:.1%}, linear probe {outcome['linear_accuracy']:.1%} on test"
        in result.err
    )
    assert "collapsed" not in result.err
    log = pd.read_csv(copied_run / "runs/digits/pretrain/simclr/log.csv")
    assert list(log.columns) == ["epoch", "loss", "lr", "images_per_second", "knn_accuracy", "rank"]
    assert log["rank"].between(1, 64).all()
    # The monitor and embed look at the same features.
    assert log["rank"].iloc[-1] == pytest.approx(stored["rank"], rel=0.02)


def test_constant_images_are_said_to_have_collapsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initpools: Initpools
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("same.npz", train_images=np.full((300, 8, 8), 90, np.uint8))
    trained = initpools("pretrain", "simclr", "--dataset", "same.npz", "--quiet", *FAST)
    assert trained.code == 0 and trained.err.count("warning: After epoch") == 1
    assert "collapsed to hardly more than one direction: RankMe 1.00 of at most 64" in trained.err
    log = pd.read_csv("runs/same/pretrain/simclr/log.csv")
    assert list(log.columns) == ["epoch", "loss", "lr", "images_per_second", "rank"] and log.notna().all(axis=None)
    for source in ("simclr", "pixels", "pca"):
        embedded = initpools("embed", source, "--json")
        assert embedded.code == 0 and "have collapsed" in embedded.err
        outcome = json.loads(embedded.out)["outcome"]
        assert outcome["rank"] < 1.01 and "knn_accuracy" not in outcome
        assert np.isfinite(np.load(f"runs/same/embed/{source}/train.npy")).all()


def test_one_image_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initpools: Initpools) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("one.npz", train_images=np.arange(64, dtype=np.uint8).reshape(1, 8, 8))
    for words in (["pretrain", "simclr", "--batch", 2], ["embed", "pca"]):
        refused = initpools(*words, "--dataset", "one.npz")
        assert refused.code == 2 and "at least 2 images, got 1." in refused.err and "Traceback" not in refused.err
    assert initpools("embed", "pixels", "--dataset", "one.npz").code == 0


def test_losses_are_drawn_of_the_pretrains_that_are_named(copied_run: Path, initpools: Initpools) -> None:
    drawn = initpools("plot", "losses", "--name", "simclr", "-o", "losses.html")
    assert drawn.code == 0 and "loss of simclr" in Path("losses.html").read_text()
    refused = initpools("plot", "losses", "--name", "byol")
    assert refused.code == 2 and "pretrain/byol" in refused.err
