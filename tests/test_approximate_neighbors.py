"""Approximate nearest neighbors: exact where all lists are searched, and close where few are."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import tomli
from conftest import Initpools
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

import initpools_cli
from initpools_cli.core.errors import UserError
from initpools_cli.geometry import ivf
from initpools_cli.geometry.ivf import each_in_ivf
from initpools_cli.geometry.knn import knn
from initpools_cli.geometry.recall import collect_recalls
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


def recall(neighbors: np.ndarray, exact: np.ndarray) -> float:
    return float(np.mean([len(np.intersect1d(a, b)) for a, b in zip(neighbors, exact, strict=True)]) / exact.shape[1])


def searched(points: np.ndarray, k: int, probes: int) -> tuple:
    """Neighbors and distances by the lists, however few there are."""
    index, distance = np.full((len(points), k), -1), np.full((len(points), k), np.inf)

    def take(rows, near, squared):
        index[rows], distance[rows] = near, np.sqrt(squared)

    each_in_ivf(points, k, take, probes, 1)
    return index, distance


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 90), st.integers(1, 4), st.integers(1, 25), st.booleans(), st.integers(0, 2**32))
def test_with_all_lists_distances_are_exact(n, d, k, grid, seed):
    rng = np.random.default_rng(seed)
    # Whole numbers are full of ties and duplicates.
    points = (rng.integers(-2, 3, (n, d)) if grid else 100 + rng.normal(size=(n, d))).astype(np.float32)
    k = min(k, n - 1)
    index, distance = searched(points, k, ALL)
    exact, expected = knn(points, k)
    np.testing.assert_array_equal(distance, expected)
    gaps = np.sqrt(((points[:, None].astype(np.float64) - points[index]) ** 2).sum(axis=2))
    np.testing.assert_allclose(distance, gaps, rtol=1e-12)
    assert all(len({*row}) == k and at not in row for at, row in enumerate(index.tolist()))
    if not grid:
        np.testing.assert_array_equal(index, exact)


@pytest.mark.parametrize("points", [clustered(), duplicates(), np.ones((600, 3), np.float32)], ids=len)
def test_with_all_lists_distances_are_exact_over_many_blocks(points):
    np.testing.assert_array_equal(searched(points, 7, ALL)[1], knn(points, 7)[1])


def test_as_many_probes_as_lists_are_an_exact_search():
    for expected, actual in zip(knn(duplicates(), 7), knn(duplicates(), 7, probes=ALL), strict=True):
        np.testing.assert_array_equal(actual, expected)


def test_few_lists_find_most_neighbors():
    points = clustered()
    exact = knn(points, 10)[0]
    recalls = [recall(knn(points, 10, probes=probes)[0], exact) for probes in (1, 8, 32)]
    assert recalls == sorted(recalls)
    assert recalls[1] > 0.9
    assert recalls[2] > 0.98
    digits = load_digits().data.astype(np.float32)
    assert recall(knn(digits, 10, probes=8)[0], knn(digits, 10)[0]) > 0.95


@pytest.mark.parametrize("compressed", [False, True])
def test_what_is_found_is_measured_exactly(monkeypatch, compressed):
    monkeypatch.setattr(ivf, "MOST_BYTES", 0 if compressed else 2**32)
    # 21 dimensions are no multiple of those of a code.
    points = clustered(1500, 21)
    with collect_recalls() as recalls:
        index, distance = knn(points, 5, probes=8)
    gaps = np.linalg.norm(points[:, None].astype(np.float64) - points[index].astype(np.float64), axis=2)
    np.testing.assert_allclose(distance, gaps, rtol=1e-12)
    assert (np.diff(distance, axis=1) >= 0).all()
    assert (index != np.arange(1500)[:, None]).all()
    measured = recalls[0].hits / recalls[0].neighbors
    assert recalls[0].index == ("ivf-pq" if compressed else "ivf") and recalls[0].neighbors == 256 * 5
    assert measured == pytest.approx(recall(index, knn(points, 5)[0]), abs=0.03) and measured > 0.9


def test_recall_is_that_of_the_sampled_rows(monkeypatch):
    points = clustered(200)
    with collect_recalls() as recalls:
        index, _ = knn(points, 4, probes=1)
    # All rows are in the sample of at most 256.
    assert recalls[0].rows == 200 and recalls[0].neighbors == 800
    assert recalls[0].hits / 800 == pytest.approx(recall(index, knn(points, 4)[0])) and recalls[0].hits < 800
    with collect_recalls() as recalls:
        knn(points, 4)
        knn(points, 4, probes=ALL)
    assert not recalls


@pytest.mark.parametrize("compressed", [False, True])
def test_one_and_two_threads_find_the_same(monkeypatch, compressed):
    import faiss

    monkeypatch.setattr(ivf, "MOST_BYTES", 0 if compressed else 2**32)
    points, results, before = clustered(), [], faiss.omp_get_max_threads()
    for threads in (1, 2):
        faiss.omp_set_num_threads(threads)
        results.append(knn(points, 6, threads, probes=3))
        assert faiss.omp_get_max_threads() == threads
    faiss.omp_set_num_threads(before)
    assert results[0][0].tobytes() == results[1][0].tobytes()
    assert results[0][1].tobytes() == results[1][1].tobytes()


def test_rows_in_short_lists_get_as_many_neighbors():
    # Two far groups of 5 rows: their lists hold fewer rows than neighbors are asked for.
    points = clustered(400, 5)
    points[:5] += 1000
    points[5:10] -= 1000
    index, distance = searched(points, 40, 1)
    assert np.isfinite(distance).all() and all(len({*row}) == 40 for row in index.tolist())
    np.testing.assert_array_equal(distance[:10, :4], knn(points, 4)[1][:10])
    np.testing.assert_array_equal(searched(points, 399, 1)[1], knn(points, 399)[1])


def test_long_lists_are_split(monkeypatch):
    """Of a list of copies, one piece is searched, not the square of all of them."""
    monkeypatch.setattr(ivf, "LONGEST", 2)
    points = duplicates()
    rows = ivf._Rows(points, False)
    lists = ivf._make_lists(rows, 3, 1)
    sizes = np.bincount(lists.own)
    assert sizes.sum() == len(points) and sizes.max() <= 2 * -(-len(points) // ivf.count_lists(len(points)))
    copies = (points == 1).all(axis=1)
    assert len(np.unique(lists.own[copies])) > 3
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


def test_lists_stay_apart_from_the_seed():
    points = clustered(400)
    first = initpools_cli.select(points, "typicality", 9, probes=2, seed=1)
    np.testing.assert_array_equal(first, initpools_cli.select(points, "typicality", 9, probes=2, seed=2))


# ---- whole commands


def test_index_sets_probes_and_the_step_has_the_recall(copied_run: Path, initpools: Initpools) -> None:
    run = copied_run / "runs/digits"
    for words in (
        ["score", "outlier", "--set", "index=ivf"],
        ["select-pool", "usl", "--budget", 5, "--set", "neighbors=9", "--set", "index=ivf"],
        ["rank", "facility-location", "--depth", 5, "--set", "neighbors=9", "--set", "select.index=ivf"],
    ):
        ended = initpools(*words)
        assert ended.code == 0, ended.err
        share = re.search(r"index ivf: ([0-9.]+)% of the nearest neighbors of 256 random images were found", ended.err)
        assert share is not None and float(share[1]) > 90, ended.err
        probed = [word if "index" not in str(word) else "probes=16" for word in words]
        assert "already done" in initpools(*probed).err
    for name in ("score/outlier", "pool/usl-b5-s0", "rank/facility-location"):
        facts = tomli.loads((run / name / "step.toml").read_text())
        assert facts["table"]["params"]["probes"] == 16 and "index" not in facts["table"]
        assert next(iter(facts["table"]["revisions"].values())) == 2
        assert facts["outcome"]["index"] == "ivf" and facts["outcome"]["recall_images"] == 256
        assert 0.9 < facts["outcome"]["recall"] <= 1
    on_the_way = initpools("select-pool", "typicality", "--budget", 5, "--set", "index=ivf")
    assert on_the_way.code == 0 and "index ivf: " in on_the_way.err
    step = tomli.loads((run / "score/typicality/step.toml").read_text())
    assert step["table"]["params"]["probes"] == 16 and "recall" in step["outcome"]
    assert "probes" not in initpools("select-pool", "typicality", "--budget", 5, "--set", "index=exact").err


def test_index_without_a_run_and_from_python(tmp_path: Path, initpools: Initpools) -> None:
    points = clustered(1300)
    np.save(tmp_path / "e.npy", points)
    ended = initpools(
        "select-pool", "typicality", "--embeddings", tmp_path / "e.npy", "--budget", 5, "--set", "index=ivf"
    )
    assert ended.code == 0 and "index ivf: " in ended.err
    picks = initpools_cli.select(points, "typicality", 5, index="ivf")
    assert [int(word) for word in ended.out.split()] == picks.tolist()
    np.testing.assert_array_equal(picks, initpools_cli.select(points, "typicality", 5, probes=16))
    with pytest.raises(UserError, match="index = 'ivf' has no effect: 'kcenter'"):
        initpools_cli.select(points, "kcenter", 5, index="ivf")


def test_large_clusters_of_typiclust_are_searched_by_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    from initpools_cli.geometry import density

    points = clustered(900)
    exact = initpools_cli.select(points, "typiclust", 4)
    np.testing.assert_array_equal(initpools_cli.select(points, "typiclust", 4, index="ivf"), exact)
    monkeypatch.setattr(density, "SMALL", 50)
    with collect_recalls() as recalls:
        initpools_cli.select(points, "typiclust", 4, probes=2)
    assert len(recalls) == 4 and all(each.hits / each.neighbors > 0.5 for each in recalls)


REFUSED = [
    (["select-pool", "kcenter", "--budget", 3, "--set", "index=ivf"], "index = 'ivf' has no effect: 'kcenter'"),
    (["score", "prototypicality", "--set", "index=ivf"], "'prototypicality' has no approximate search"),
    (["rank", "usl", "--set", "index=exact", "--set", "probes=3"], "probes=3 has no effect with index = 'exact'"),
    (["rank", "usl", "--set", "index=hnsw"], "select.index = 'hnsw'"),
    (["select-pool", "graph-cut", "--budget", 3, "--set", "index=ivf"], "probes=16 has no effect with neighbors=0"),
    (["al-run", "--set", "select.index=ivf"], "select.index (in --set) has no effect in al-run"),
]


@pytest.mark.parametrize(("words", "fact"), REFUSED, ids=[str(each[0][1]) + str(each[0][-1]) for each in REFUSED])
def test_an_index_without_effect_is_refused(words: list, fact: str, tmp_path: Path, initpools: Initpools) -> None:
    np.save(tmp_path / "e.npy", clustered(60))
    ended = initpools(*words, *([] if words[0] == "al-run" else ["--embeddings", tmp_path / "e.npy"]))
    assert ended.code == 2 and fact in ended.err, ended.err
