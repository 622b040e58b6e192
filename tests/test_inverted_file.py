"""Approximate nearest neighbors: exact where all lists are looked through, and close where few are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

import initpools_cli
from initpools_cli.core.errors import UserError
from initpools_cli.geometry import inverted_file as lists_module
from initpools_cli.geometry.inverted_file import LONGEST, make_lists, nearest_lists
from initpools_cli.geometry.knn import knn
from initpools_cli.scores.duplicate import duplicate
from initpools_cli.scores.outlier import outlier
from initpools_cli.scores.typicality import typicality

ALL = 10**6


def clustered(n: int = 3000, d: int = 24) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.normal(size=(12, d))[rng.integers(0, 12, n)] + 0.6 * rng.normal(size=(n, d))).astype(np.float32)


def duplicates() -> np.ndarray:
    """More copies of one row than a list may hold, between others."""
    return (
        np.random.default_rng(1).permutation(np.concatenate([np.ones((700, 4)), clustered(500, 4)])).astype(np.float32)
    )


def recall(found: np.ndarray, exact: np.ndarray) -> float:
    return float(np.mean([len(np.intersect1d(a, b)) for a, b in zip(found, exact, strict=True)]) / exact.shape[1])


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 90), st.integers(1, 4), st.integers(1, 25), st.booleans(), st.integers(0, 2**32))
def test_with_all_lists_neighbors_are_exact(n, d, k, grid, seed):
    rng = np.random.default_rng(seed)
    # Whole numbers are full of ties and duplicates.
    points = (rng.integers(-2, 3, (n, d)) if grid else 100 + rng.normal(size=(n, d))).astype(np.float32)
    k = min(k, n - 1)
    for expected, found in zip(knn(points, k), knn(points, k, probes=ALL), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("points", [clustered(), duplicates(), np.ones((600, 3), np.float32)], ids=len)
def test_with_all_lists_neighbors_are_exact_over_many_blocks(points):
    for expected, found in zip(knn(points, 7), knn(points, 7, probes=ALL), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_few_lists_find_most_neighbors():
    points = clustered()
    exact = knn(points, 10)[0]
    recalls = [recall(knn(points, 10, probes=probes)[0], exact) for probes in (1, 8, 32)]
    assert recalls == sorted(recalls)
    assert recalls[1] > 0.9
    assert recalls[2] > 0.98
    digits = load_digits().data.astype(np.float32)
    assert recall(knn(digits, 10, probes=8)[0], knn(digits, 10)[0]) > 0.95


def test_what_is_found_is_measured_exactly():
    points = clustered(500)
    index, distance = knn(points, 5, probes=2)
    gaps = np.linalg.norm(points[:, None].astype(np.float64) - points[index].astype(np.float64), axis=2)
    np.testing.assert_allclose(distance, gaps, rtol=1e-12)
    assert (np.diff(distance, axis=1) >= 0).all()
    assert (index != np.arange(500)[:, None]).all()


def test_one_and_two_threads_find_the_same():
    points = clustered()
    one, two = (knn(points, 6, threads, probes=3) for threads in (1, 2))
    assert one[0].tobytes() == two[0].tobytes()
    assert one[1].tobytes() == two[1].tobytes()


@pytest.mark.parametrize("points", [clustered(), duplicates(), clustered(2), clustered(1)], ids=len)
def test_lists_are_a_partition_and_none_is_long(points):
    lists = make_lists(points)
    np.testing.assert_array_equal(np.sort(lists.order), np.arange(len(points)))
    assert (lists.sizes > 0).all()
    count = max(1, min(2 * len(points) ** 0.5, len(points) // 8))
    assert lists.sizes.max() <= LONGEST * np.ceil(len(points) / int(count))
    for at in range(len(lists)):
        assert (np.diff(lists.rows(at)) > 0).all()


def test_more_lists_are_looked_through_where_few_hold_too_little():
    points = clustered(200)
    lists = make_lists(points)
    near = nearest_lists(lists, 1)
    assert np.array_equal(lists.around(3, near[3], 1), lists.rows(3))
    assert len(lists.around(3, near[3], 150)) >= 150
    assert set(lists.rows(3)) < set(lists.around(3, near[3], 150))
    np.testing.assert_array_equal(lists.around(3, near[3], 200), np.arange(200))
    np.testing.assert_array_equal(knn(points, 199, probes=1)[0], knn(points, 199)[0])


def test_duplicates_find_each_other_in_lists_that_were_cut():
    points = duplicates()
    copies = (points == 1).all(axis=1)
    assert (knn(points, 5, probes=1)[1][copies] == 0).all()


def test_scores_and_usl_take_probes():
    points = clustered()
    for score in (typicality, outlier, duplicate):
        np.testing.assert_array_equal(score(points, probes=ALL), score(points))
        near, exact = score(points, probes=8), score(points)
        assert np.corrcoef(near, exact)[0, 1] > 0.99
        np.testing.assert_array_equal(score(points[:1], probes=2), score(points[:1]))
    exact = initpools_cli.select(points, "usl", 20, neighbors=20)
    np.testing.assert_array_equal(initpools_cli.select(points, "usl", 20, neighbors=20, probes=ALL), exact)
    np.testing.assert_array_equal(
        initpools_cli.select(points, "typicality", 20, probes=ALL), initpools_cli.select(points, "typicality", 20)
    )
    assert len(set(initpools_cli.select(points, "usl", 20, neighbors=20, probes=8)) & set(exact)) >= 12
    with pytest.raises(UserError, match="probes"):
        initpools_cli.select(points, "usl", 20, probes=-1)


def test_lists_stay_apart_from_the_seed(monkeypatch):
    points = clustered(400)
    drawn = []
    build = lists_module.generator
    monkeypatch.setattr(lists_module, "generator", lambda *labels: drawn.append(labels) or build(*labels))
    first = initpools_cli.select(points, "typicality", 9, probes=2, seed=1)
    np.testing.assert_array_equal(first, initpools_cli.select(points, "typicality", 9, probes=2, seed=2))
    assert drawn == [(0, "lists", 400)] * 2
