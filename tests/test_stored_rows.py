"""Embeddings in a file that are larger than what is copied: the same picks as from memory, block by block."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from plain import QUICK

from initpools_cli.core.errors import UserError
from initpools_cli.geometry.normalize import unit_rows
from initpools_cli.geometry.rows import Rows, shifted
from initpools_cli.geometry.segment_sum import PART, sums_by_label
from initpools_cli.scores.registry import scores
from initpools_cli.steps.evaluate import evaluate
from initpools_cli.strategies import embeddings
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.select import choose

BY_ROWS = [method.name for method in strategies if method.traits.by_rows]


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """A memory map of float16 rows, one of them a copy, one zero; every file counts as large."""
    points = np.random.default_rng(0).normal(size=(300, 12)).astype(np.float16)
    points[7], points[9] = points[3], 0
    np.save(tmp_path / "points.npy", points)
    monkeypatch.setattr(embeddings, "LARGE", 0)
    return np.load(tmp_path / "points.npy", mmap_mode="r")


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("name", BY_ROWS)
def test_picks_are_those_from_memory(name, normalize, stored):
    for settings in ({}, {"balance": "kmeans", "n_clusters": 3}, {"sample": 90}, {"min_distance": 0.1}):
        arguments = {
            "labeled": [3, 50, 299],
            "exclude": np.arange(100, 140),
            "normalize": normalize,
            "knobs": QUICK.get(name),
            **settings,
        }
        mapped = choose(name, {"embeddings": stored}, 20, **arguments)
        inside = choose(name, {"embeddings": np.array(stored)}, 20, **arguments)
        np.testing.assert_array_equal(mapped.indices, inside.indices)
        if mapped.scores is not None:
            np.testing.assert_array_equal(mapped.scores, inside.scores)


def test_float32_rows_are_normalized_unless_they_are_or_are_to_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(embeddings, "LARGE", 0)
    points = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    for name, rows in (("any.npy", points), ("unit.npy", unit_rows(points))):
        np.save(tmp_path / name, rows)
        stored = np.load(tmp_path / name, mmap_mode="r")
        for normalize in (True, False):
            checked = embeddings.as_embeddings(stored, normalize)
            np.testing.assert_array_equal(checked[np.arange(40)], embeddings.as_embeddings(rows, normalize))
            assert (checked is stored) == (name == "unit.npy" or not normalize)


def test_rows_are_not_read_as_a_whole_by_what_reads_blocks(stored, monkeypatch):
    monkeypatch.setattr(Rows, "read", None)
    for name in BY_ROWS:
        choose(name, {"embeddings": stored}, 5, knobs=QUICK.get(name))
    with pytest.raises(TypeError):
        np.asarray(Rows(stored))


def test_a_strategy_that_reads_all_says_how_much_memory_it_takes(stored, monkeypatch):
    plain = choose("maxherding", {"embeddings": np.array(stored)}, 5)
    np.testing.assert_array_equal(choose("maxherding", {"embeddings": stored}, 5).indices, plain.indices)
    monkeypatch.setattr("initpools_cli.core.capacity.free_memory", lambda: 1000.0)
    with pytest.raises(UserError, match=r"'maxherding' reads all embeddings at once. As float32 they take 14.3 kB"):
        choose("maxherding", {"embeddings": stored}, 5)


@pytest.mark.parametrize("name", [method.name for method in scores if method.traits.by_rows])
def test_scores_are_those_from_memory(name, stored):
    method = scores.get(name)
    seen = np.arange(300) != 20
    knobs = method.validate({})
    values = [evaluate(method, {"embeddings": each}, knobs, True, 0, mask=seen) for each in (stored, np.array(stored))]
    np.testing.assert_array_equal(*values)


def test_views_are_indexed_like_arrays(stored):
    inside, rows, origin = np.array(stored), np.array([5, 2, 7, 9]), np.ones(12, np.float32)
    for at in (slice(1, 3), np.array([3, 0]), 2, np.array([True, False, True, True])):
        np.testing.assert_array_equal(Rows(stored).take(rows)[at], inside[rows][at])
    unit = Rows(stored, form="unit").take(rows)
    np.testing.assert_array_equal(unit[:], unit_rows(inside[rows]))
    np.testing.assert_array_equal(shifted(unit, origin)[1:], unit_rows(inside[rows])[1:] - origin)
    assert (unit.shape, len(unit), unit.size, unit.dtype) == ((4, 12), 4, 48, np.float32)
    assert Rows(stored).dtype == np.float16


@pytest.mark.parametrize("part", [slice(None), slice(5, None), slice(2, 200), slice(0, None, 2)])
def test_views_of_a_file_are_sent_by_its_name(part, stored):
    for view in (stored[part], stored[3:][part]):
        rows = Rows(view, form="unit").take(np.array([4, 1, 70]))
        sent = pickle.dumps(rows)
        np.testing.assert_array_equal(pickle.loads(sent)[:], rows[:])
        assert len(sent) < 1000 or not view.flags.c_contiguous


def test_sums_of_many_rows_are_the_sums_of_their_parts():
    rng = np.random.default_rng(1)
    n, k = PART + 1000, 5
    points = rng.normal(size=(n, 3)).astype(np.float32)
    labels, weights = rng.integers(0, k, n), rng.random(n)
    expected = np.zeros((k, 3))
    np.add.at(expected, labels, weights[:, None] * points.astype(np.float64))
    np.testing.assert_allclose(sums_by_label(points, slice(None), labels, weights, k), expected, rtol=1e-12)
    half = np.arange(0, n, 2)
    np.add.at(expected, labels[half], -weights[half, None] * points[half].astype(np.float64))
    odd = np.arange(1, n, 2)
    np.testing.assert_allclose(sums_by_label(points, odd, labels[odd], weights[odd], k), expected, rtol=1e-9)
