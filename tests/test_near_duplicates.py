"""Near-duplicates: their definition, their groups, and what users are shown of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Initpools
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from initpools_cli.geometry.near_duplicates import (
    FLOOR,
    NEIGHBORS,
    RATIO,
    _places,
    groups_of,
    near_pairs,
)


def test_places_of_rows_that_are_among_others():
    assert _places(np.array([0, 2, 5, 7, 9, 11]), np.array([2, 5, 9])).tolist() == [-1, 0, 1, -1, 2, -1]


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
        groups = groups_of(near_pairs(np.concatenate([rows, copies]))[0], 200 + count)
        assert (groups[200:] == 0).all() and (groups[1:200] == np.arange(1, 200)).all()


def test_a_scale_or_a_dense_region_makes_no_near_duplicates() -> None:
    rows = planted(300)
    dense = rows[0] + 0.4 * planted(100, 1)
    pairs, _ = near_pairs(1e-3 * np.concatenate([rows[1:], dense]))
    assert len(pairs) == 0


@pytest.mark.parametrize("n", [0, 1, 2, NEIGHBORS])
def test_of_few_images_only_equal_ones_are_near(n: int) -> None:
    rows = planted(n) if n else np.empty((0, 3), np.float32)
    assert len(near_pairs(rows)[0]) == 0
    if n > 1:
        assert near_pairs(rows[[0, *range(n - 1)]])[0].tolist() == [[0, 1]]


def test_groups_join_chains_and_are_named_by_their_lowest_row() -> None:
    pairs = np.array([[4, 5], [2, 5], [1, 3]])
    assert groups_of(pairs, 7).tolist() == [0, 1, 2, 1, 2, 2, 6]
    assert groups_of(np.empty((0, 2), np.int64), 3).tolist() == [0, 1, 2]


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """A folder of 30 images; 7 is a copy of 3, and 11 is 5 a bit brighter."""
    rng, folder = np.random.default_rng(0), tmp_path / "images"
    folder.mkdir()
    images = [rng.integers(0, 200, (16, 16), dtype=np.uint8) for _ in range(30)]
    images[7], images[11] = images[3], images[5] + np.uint8(4)
    for number, pixels in enumerate(images):
        Image.fromarray(pixels).save(folder / f"{number:02}.png")
    return folder


def test_copies_are_reported_when_images_are_read_and_near_duplicates_when_embedded(
    photographs: Path, tmp_path: Path, initpools: Initpools
) -> None:
    run, table = tmp_path / "run", tmp_path / "dup.csv"
    result = initpools("embed", "pixels", "--dataset", photographs, "--run", run, "--set", "dataset.size=16")
    assert result.err.count("1 of 30 train images is an exact copy of another train image (same checksum).") == 1
    assert "4 of 30 images are near-duplicates of another one" in result.err
    result = initpools("score", "duplicate", "--run", run, "-o", table)
    assert result.code == 0 and "exact cop" not in result.err, "copies are reported once"
    rows = pd.read_csv(table)
    assert rows["path"].tolist() == ["03.png", "07.png", "05.png", "11.png"]
    assert rows["group"].tolist() == [3, 3, 5, 5] and rows["relation"].tolist() == ["copy", "copy", "near", "near"]
    assert rows["nearest"].tolist() == [7, 3, 11, 5] and (rows["similarity"] > 0.99).all()
    groups = np.load(run / "embed" / "pixels" / "near_duplicates.npy")
    assert np.flatnonzero(groups != np.arange(30)).tolist() == [7, 11]


def test_the_report_finds_copies_where_images_are_newer_than_the_embeddings(
    photographs: Path, tmp_path: Path, initpools: Initpools
) -> None:
    run = tmp_path / "run"
    assert initpools("embed", "pixels", "--dataset", photographs, "--run", run).code == 0
    shutil.copy(photographs / "00.png", photographs / "30.png")
    assert initpools("plot", "report", "--run", run, "-o", tmp_path / "report.html").code == 0
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    # 3 and 7, 0 and 30; of the old embeddings, which say that 5 and 11 are near-duplicates, the new image has no row.
    assert "2 groups of images that are nearly the same; 2 images repeat another one." in text


def test_groups_of_a_file_of_embeddings_have_equal_rows_but_no_copies(tmp_path: Path, initpools: Initpools) -> None:
    rows = planted(40)
    rows[9], rows[20], rows[30:32] = rows[2], rows[2] + 0.01 * rows[3], 0
    np.save(tmp_path / "rows.npy", rows)
    table = tmp_path / "dup.csv"
    assert initpools("score", "duplicate", "--embeddings", tmp_path / "rows.npy", "-o", table).code == 0
    duplicates = pd.read_csv(table)
    assert duplicates["index"].tolist() == [2, 9, 20], "zero rows are near to nothing"
    assert duplicates["relation"].tolist() == ["equal embedding", "equal embedding", "near"]
    result = initpools("score", "typicality", "--embeddings", tmp_path / "rows.npy", "-o", table)
    assert result.code == 2 and "does not end in .npy" in result.err


@pytest.mark.parametrize("shift", [0.0, 1e-3])
def test_an_approximate_search_checks_its_pairs_exactly(shift: float) -> None:
    rows = np.concatenate([planted(400, 2, 8), planted(400, 2, 8) + shift * planted(400, 3, 8)])
    pairs = {tuple(pair) for pair in near_pairs(rows, probes=2)[0].tolist()}
    assert {(i, i + 400) for i in range(400)} <= pairs <= {tuple(pair) for pair in near_pairs(rows)[0].tolist()}
