"""Near-duplicates: their definition, their groups, and what users are shown of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from initpools_cli.geometry.near_duplicates import (
    FLOOR,
    NEIGHBORS,
    RATIO,
    groups_of,
    near_pairs,
    near_pairs_between,
)


def planted(n: int, seed: int = 0, d: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def naive_pairs(rows: np.ndarray) -> set[tuple[int, int]]:
    """The definition, without blocks: only pairs among the nearest `NEIGHBORS` of either row, and equal rows."""
    points = rows.astype(np.float64) / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    gaps = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(gaps, np.inf)
    order = np.sort(gaps, axis=1)
    scale = np.maximum(order[:, NEIGHBORS - 1], FLOOR * np.median(order[:, NEIGHBORS - 1]))
    near = gaps <= RATIO * np.minimum(scale[:, None], scale[None])
    listed = gaps <= order[:, [NEIGHBORS - 1]]
    return {(i, j) for i, j in np.argwhere(near & (listed | listed.T)) if i < j}


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), n=st.integers(NEIGHBORS + 1, 60), copies=st.integers(0, 9))
def test_pairs_are_those_of_the_definition(seed: int, n: int, copies: int) -> None:
    rng = np.random.default_rng(seed)
    rows = planted(n, seed, 4)
    near = rows[rng.integers(0, n, copies)] + rng.normal(0, 0.02, (copies, 4))
    rows = np.concatenate([rows, near.astype(np.float32)])
    pairs, distances = near_pairs(rows)
    assert {tuple(pair) for pair in pairs.tolist()} == naive_pairs(rows)
    points = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(distances, np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1), atol=1e-5)


@pytest.mark.parametrize("count", [2, 40])
def test_a_group_of_any_size_is_one_group(count: int) -> None:
    """Copies of one image do not hide each other, equal or not."""
    rows = planted(200)
    for noise in (0, 1e-3):
        copies = rows[:1] * 3 + noise * planted(count, 1)
        found = groups_of(near_pairs(np.concatenate([rows, copies]))[0], 200 + count)
        assert (found[200:] == 0).all() and (found[1:200] == np.arange(1, 200)).all()


def test_a_scale_or_a_dense_region_makes_no_near_duplicates() -> None:
    rows = planted(300)
    dense = rows[0] + 0.4 * planted(100, 1)
    found, _ = near_pairs(1e-3 * np.concatenate([rows[1:], dense]))
    assert len(found) == 0


@pytest.mark.parametrize("n", [0, 1, 2, NEIGHBORS])
def test_of_few_images_only_equal_ones_are_near(n: int) -> None:
    rows = planted(n) if n else np.empty((0, 3), np.float32)
    assert len(near_pairs(rows)[0]) == 0
    if n > 1:
        assert near_pairs(rows[[0, *range(n - 1)]])[0].tolist() == [[0, 1]]


def test_pairs_between_two_sets_are_those_of_both_together() -> None:
    train, test = planted(100), planted(20, 1)
    test[3] = train[40] * 1.001 + 1e-3
    train[7] = train[8]
    pairs, distances = near_pairs_between(train, test)
    assert pairs.tolist() == [[40, 3]] and distances[0] < 0.02


def test_groups_join_chains_and_are_named_by_their_lowest_row() -> None:
    pairs = np.array([[4, 5], [2, 5], [1, 3]])
    assert groups_of(pairs, 7).tolist() == [0, 1, 2, 1, 2, 2, 6]
    assert groups_of(np.empty((0, 2), np.int64), 3).tolist() == [0, 1, 2]
