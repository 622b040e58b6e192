"""Rankings of which a strategy orders the first images alone, and the order of the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tomli
from conftest import Initpools
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from initpools_cli.steps import rank
from initpools_cli.strategies.kcenter import distance_to_chosen


@settings(max_examples=30, deadline=None)
@given(st.integers(4, 40), st.integers(1, 4), st.sampled_from(["l2", "cosine"]), st.integers(0, 2**32))
def test_distances_of_the_others_equal_plain_ones(n: int, d: int, metric: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n, d)).astype(np.float32)
    chosen, rows = np.split(rng.permutation(n), [n // 2])
    expected = cdist(points[rows], points[chosen], {"l2": "euclidean"}.get(metric, metric)).min(axis=1)
    np.testing.assert_allclose(distance_to_chosen(points, rows, chosen, {"metric": metric}), expected, atol=1e-6)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    monkeypatch.chdir(tmp_path)
    points = np.random.default_rng(0).normal(size=(60, 6)).astype(np.float32)
    # The last but one is a copy, and the last one has no direction.
    points[58], points[59] = points[3], 0
    np.save("points.npy", points)
    np.save("labeled.npy", np.array([5, 17]))
    return ["rank", "kcenter", "--embeddings", "points.npy", "--labeled", "labeled.npy", "-o", "order.npy"]


def ranked(initpools: Initpools, *words: object) -> tuple[np.ndarray, str]:
    ended = initpools(*words)
    assert ended.code == 0, ended.err
    return np.load("order.npy"), ended.err


def test_others_follow_by_distance_to_the_nearest_of_the_first(files: list[object], initpools: Initpools) -> None:
    complete, err = ranked(initpools, *files)
    assert "--depth" not in err
    assert np.array_equal(ranked(initpools, *files, "--depth", "all")[0], complete)
    order, _ = ranked(initpools, *files, "--depth", 12)
    assert np.array_equal(order[:12], complete[:12]) and set(order) == set(complete)
    rows = np.load("points.npy").astype(np.float64)
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    gaps = cdist(unit, unit[[5, 17, *order[:12]]]).min(axis=1)
    rest = np.setdiff1d(np.arange(58), [5, 17, *order[:12]])
    assert order[12:].tolist() == [*rest[np.argsort(-gaps[rest], kind="stable")], 58, 59]


def test_a_long_ranking_is_shortened_and_says_so(
    files: list[object], initpools: Initpools, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete, _ = ranked(initpools, *files)
    monkeypatch.setattr(rank, "LONG_DEPTH", 9)
    monkeypatch.setattr(rank, "MOST", 58 * 58 * 6 - 1)
    order, err = ranked(initpools, *files)
    assert "kcenter orders the first 9 of 58 images; the others follow by distance" in err
    assert np.array_equal(order, ranked(initpools, *files, "--depth", 9)[0]) and not np.array_equal(order, complete)
    whole, err = ranked(initpools, *files, "--depth", "all")
    assert np.array_equal(whole, complete) and "--depth" not in err


def test_depth_is_in_the_step_and_part_of_its_identity(copied_run: Path, initpools: Initpools) -> None:
    for words in ([], ["--depth", 7], ["--set", "rank.depth=all"]):
        assert initpools("rank", "kcenter", *words).code == 0
    tables = [tomli.loads(file.read_text())["table"] for file in copied_run.glob("runs/digits/rank/*/step.toml")]
    kept = int(np.load(copied_run / "runs/digits/data/kept.npy").sum())
    assert sorted((table["depth"], table.get("rest", "")) for table in tables) == [(7, "distance"), (kept, "")]
    refused = initpools("rank", "kcenter", "--depth", "most")
    assert refused.code == 2 and "rank.depth = 'most'" in refused.err and "or all" in refused.err
