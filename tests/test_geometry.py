"""Blocked geometry against naive twins, and the same bytes on any number of threads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import csr_array

from initpools_cli.geometry import knn as knn_module
from initpools_cli.geometry import neighbors
from initpools_cli.geometry.chunked import available_threads, map_blocks
from initpools_cli.geometry.farthest_first import farthest_first, nearest_to_mean
from initpools_cli.geometry.kmeans import kmeans
from initpools_cli.geometry.knn import knn
from initpools_cli.geometry.neighbors import nearest, nearest_free, nearest_squared
from initpools_cli.geometry.sampling import distance_weighted
from initpools_cli.geometry.sparse import sparse_facility_location

NONE = np.empty(0, np.int64)
quick = settings(max_examples=60, deadline=None)


def pairwise(a, b):
    return ((a[:, None].astype(np.float64) - b[None].astype(np.float64)) ** 2).sum(axis=-1)


def naive_knn(points, k):
    squared = pairwise(points, points)
    np.fill_diagonal(squared, np.inf)
    order = np.argsort(squared, axis=1, kind="stable")[:, :k]
    return order, np.sqrt(np.take_along_axis(squared, order, axis=1))


def naive_farthest_first(points, count, first):
    picks, gaps = [], []
    order = list(first)
    if not order:
        start = int(((points.astype(np.float64) - points.astype(np.float64).mean(axis=0)) ** 2).sum(axis=1).argmin())
        picks, gaps, order = [start], [np.inf], [start]
    while len(picks) < count:
        squared = pairwise(points, points[order]).min(axis=1)
        squared[order] = -1
        picks.append(int(squared.argmax()))
        gaps.append(squared.max())
        order.append(picks[-1])
    return np.array(picks), np.array(gaps)


# Small whole numbers: exact in any arithmetic, and full of ties and duplicates.
@st.composite
def grids(draw, most=40):
    shape = (draw(st.integers(1, most)), draw(st.integers(1, 4)))
    return draw(arrays(np.float32, shape, elements=st.integers(-3, 3).map(float)))


@st.composite
def clouds(draw, most=120):
    n, d = draw(st.integers(2, most)), draw(st.integers(1, 20))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    far, near = draw(st.sampled_from([0.0, 1.0, 100.0])), draw(st.sampled_from([1.0, 1e-3]))
    centers = rng.normal(scale=far, size=(3, d)) if far else np.zeros((3, d))
    return (centers[rng.integers(0, 3, n)] + rng.normal(scale=near, size=(n, d))).astype(np.float32)


@pytest.fixture
def small_blocks(monkeypatch):
    for module in (neighbors, knn_module):
        monkeypatch.setattr(module, "ROWS", 16)
        monkeypatch.setattr(module, "COLUMNS", 8)


def test_blocks_cover_all_rows_in_order():
    spans = map_blocks(lambda span: (span.start, span.stop), 10, 4, threads=3)
    assert spans == [(0, 4), (4, 8), (8, 10)]
    assert map_blocks(lambda span: span, 0, 4) == []


def test_held_to_one_thread_there_is_one():
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        assert available_threads() == 1
    assert map_blocks(lambda span: available_threads(), 3, 1, threads=2) == [1, 1, 1]


def test_an_error_in_a_block_is_raised():
    def fail(span):
        raise ArithmeticError(str(span.start))

    with pytest.raises(ArithmeticError, match="0"):
        map_blocks(fail, 10, 2, threads=2)


@quick
@given(grids() | clouds(), st.integers(1, 25))
def test_knn_equals_naive(points, k):
    n = len(points)
    if n == 1:
        return
    k = min(k, n - 1)
    index, distance = knn(points, k)
    expected, far = naive_knn(points, k)
    np.testing.assert_array_equal(index, expected)
    np.testing.assert_allclose(distance, far, rtol=1e-12)


@pytest.mark.parametrize("k", [1, 3, 12])
def test_knn_equals_naive_over_many_chunks(small_blocks, k):
    rng = np.random.default_rng(0)
    for points in (rng.integers(-2, 3, size=(60, 3)), rng.normal(size=(70, 5)), np.ones((40, 2))):
        points = points.astype(np.float32)
        index, distance = knn(points, k)
        expected, far = naive_knn(points, k)
        np.testing.assert_array_equal(index, expected)
        np.testing.assert_allclose(distance, far, rtol=1e-12)


def drowned():
    """Rows that float32 distances cannot tell apart: duplicates, tight clusters far away, an outlier, ties."""
    rng = np.random.default_rng(0)
    # A few steps of float32 around 100; and about as much as the products are off.
    tight = [100 * rng.normal(size=24) + 2e-5 * rng.integers(-2, 3, size=(60, 24)) for _ in range(3)]
    loose = [100 * rng.normal(size=24) + 0.05 * rng.normal(size=(60, 24)) for _ in range(3)]
    # All as far from the hub, but summed in another order. Multiples of 2⁻¹³ of this size are exact.
    hub, spoke = (rng.integers(-size, size, 24) / 2**13 for size in (2**20, 2**11))
    wheel = hub + np.stack([np.zeros(24), *(rng.permutation(spoke) for _ in range(60))])
    parts = [np.ones((50, 24)), *tight, *loose, wheel, rng.normal(size=(80, 24)), np.full((1, 24), 1e3)]
    return rng.permutation(np.concatenate(parts).astype(np.float32))


@pytest.mark.parametrize("k", [1, 5, 20])
def test_knn_equals_naive_where_float32_distances_say_nothing(k):
    points = drowned()
    index, distance = knn(points, k)
    expected, far = naive_knn(points, k)
    np.testing.assert_array_equal(index, expected)
    np.testing.assert_allclose(distance, far, rtol=1e-12)


@pytest.mark.parametrize("k", [1, 5, 20])
def test_the_neighbors_that_float32_finds_are_right_wherever_that_is_claimed(monkeypatch, k):
    # With little to spare the claim has to do the work.
    monkeypatch.setattr(knn_module, "MARGIN", 1)
    points = drowned()
    centered = points - points.mean(axis=0)
    index, _, sure = knn_module.candidate_neighbors(
        points, centered, (centered.astype(float) ** 2).sum(axis=1), slice(10, 500), k
    )
    np.testing.assert_array_equal(index[sure], naive_knn(points, k)[0][10:500][sure])
    assert sure.any()
    assert not sure.all()


def test_an_outlier_leaves_the_other_rows_sure():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(500, 32)).astype(np.float32)
    points[-1] = 1e4
    sure = knn_module.candidate_neighbors(points, points, (points.astype(float) ** 2).sum(axis=1), slice(0, 500), 5)[2]
    assert sure[:-1].mean() > 0.99


def test_knn_needs_k_below_n():
    with pytest.raises(ValueError, match="k=3 must be"):
        knn(np.zeros((3, 2), np.float32), 3)


@quick
@given(grids(), grids())
def test_nearest_equals_naive(queries, points):
    d = min(queries.shape[1], points.shape[1])
    queries, points = queries[:, :d], points[:, :d]
    index, distance = nearest(queries, points)
    squared = pairwise(queries, points)
    np.testing.assert_array_equal(index, squared.argmin(axis=1))
    np.testing.assert_array_equal(distance**2, np.sqrt(squared.min(axis=1)) ** 2)


def test_nearest_equals_naive_over_many_chunks(small_blocks):
    rng = np.random.default_rng(0)
    queries, points = (rng.integers(-3, 4, size=(n, 3)).astype(np.float32) for n in (50, 90))
    np.testing.assert_array_equal(nearest(queries, points)[0], pairwise(queries, points).argmin(axis=1))


def test_duplicates_are_at_distance_zero_far_from_the_origin():
    rng = np.random.default_rng(0)
    points = (1000 + rng.normal(size=(300, 64))).astype(np.float32)
    index, distance = nearest(np.ascontiguousarray(points[::-1]), points)
    np.testing.assert_array_equal(index, np.arange(300)[::-1])
    assert (distance == 0).all()


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e12])
def test_nearest_at_any_scale(scale):
    points = (np.random.default_rng(0).normal(size=(200, 8)) * scale).astype(np.float32)
    np.testing.assert_array_equal(knn(points, 5)[0], naive_knn(points, 5)[0])


def test_bound_passes_over_what_is_not_nearer():
    points = np.array([[0.0], [5.0]], np.float32)
    queries = np.array([[1.0], [1.0], [1.0]], np.float32)
    index, squared = nearest_squared(queries, points, np.array([np.inf, 1.0, 0.5]))
    assert index.tolist() == [0, -1, -1]
    assert squared.tolist() == [1.0, 1.0, 0.5]


def test_nearest_free_takes_the_next_nearest():
    points = np.array([[0.0], [0.0], [1.0], [3.0]], np.float32)
    queries = np.zeros((3, 1), np.float32)
    index, distance = nearest_free(queries, points, np.array([0]))
    assert index.tolist() == [1, 2, 3]
    assert distance.tolist() == [0, 1, 3]


@quick
@given(grids(), st.data())
def test_farthest_first_equals_naive_with_ties(points, data):
    n = len(points)
    first = np.array(sorted(data.draw(st.sets(st.integers(0, n - 1), max_size=n - 1))), np.int64)
    count = data.draw(st.integers(1, n - len(first)))
    picks, gaps = farthest_first(points, count, first)
    if not len(first):
        # The mean is rounded, so a tie for the start may fall either way; after it all is exact.
        first, picks, gaps, count = picks[:1], picks[1:], gaps[1:], count - 1
    expected, far = naive_farthest_first(points, count, first)
    np.testing.assert_array_equal(picks, expected)
    np.testing.assert_array_equal(gaps, far)


@quick
@given(clouds())
def test_farthest_first_equals_naive(points):
    count = len(points)
    picks, gaps = farthest_first(points, count, NONE)
    expected, far = naive_farthest_first(points, count, NONE)
    np.testing.assert_array_equal(picks, expected)
    np.testing.assert_allclose(gaps, far, rtol=1e-12)


@pytest.mark.parametrize("whole", [False, True])
def test_farthest_first_equals_naive_with_many_batches(whole):
    # With 1024 dimensions the candidate set is smaller than the data.
    rng = np.random.default_rng(0)
    points = rng.integers(0, 2, size=(350, 1024)) if whole else rng.normal(size=(350, 1024))
    points = np.repeat(points.astype(np.float32), 2, axis=0)
    points[550:] = points[3]
    picks, gaps = farthest_first(points, 400, np.array([5]))
    squared = pairwise_to_one(points, 5)
    squared[5] = -1
    for pick, gap in zip(picks, gaps, strict=True):
        assert pick == squared.argmax()
        assert gap == pytest.approx(squared.max(), rel=1e-12)
        np.minimum(squared, pairwise_to_one(points, pick), out=squared)
        squared[pick] = -1


def pairwise_to_one(points, at):
    difference = points.astype(np.float64) - points[at]
    return np.einsum("ij,ij->i", difference, difference)


def test_farthest_first_of_duplicates_goes_by_index():
    picks, gaps = farthest_first(np.ones((1500, 512), np.float32), 1500, NONE)
    np.testing.assert_array_equal(picks, np.arange(1500))
    assert np.isinf(gaps[0])
    assert (gaps[1:] == 0).all()


def test_the_start_is_nearest_the_mean():
    assert nearest_to_mean(np.array([[0.0], [4.0], [6.0], [10.0]], np.float32)) == 1


@quick
@given(grids() | clouds(), st.integers(1, 8), st.integers(0, 9))
def test_kmeans_assigns_to_the_nearest_centroid(points, k, seed):
    k = min(k, len(points))
    clusters = kmeans(points, k, np.random.default_rng(seed))
    squared = pairwise(points, clusters.centroids)
    assert np.isfinite(clusters.centroids).all()
    np.testing.assert_array_equal(clusters.labels, squared.argmin(axis=1))
    np.testing.assert_allclose(clusters.inertia, squared.min(axis=1).sum(), rtol=1e-9, atol=1e-12)


def test_kmeans_finds_clusters_that_are_there():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 7, 5000)
    points = (rng.normal(size=(7, 8))[truth] * 20 + rng.normal(size=(5000, 8))).astype(np.float32)
    labels = kmeans(points, 7, np.random.default_rng(1)).labels
    assert len({(a, b) for a, b in zip(truth.tolist(), labels.tolist(), strict=True)}) == 7


def test_kmeans_is_about_as_good_as_scikit_learns():
    from sklearn.cluster import KMeans
    from sklearn.datasets import load_digits

    points = load_digits().data.astype(np.float32)
    ours = min(kmeans(points, 10, np.random.default_rng(seed)).inertia for seed in range(3))
    theirs = KMeans(10, n_init=3, random_state=0).fit(points).inertia_
    assert ours < 1.03 * theirs


@pytest.mark.parametrize("k", [1, 4, 30])
def test_kmeans_of_few_different_points(k):
    points = np.repeat(np.array([[0.0, 0.0], [0.0, 1.0], [5.0, 5.0]], np.float32), 10, axis=0)
    clusters = kmeans(points, k, np.random.default_rng(0))
    assert np.isfinite(clusters.centroids).all()
    assert clusters.inertia == 0 if k > 2 else clusters.inertia > 0


def test_distance_weighted_never_repeats_and_is_nested():
    points = np.repeat(np.arange(5, dtype=np.float32)[:, None], 4, axis=0)
    long, gaps = distance_weighted(points, 18, np.random.default_rng(0), np.array([0, 7]))
    short, _ = distance_weighted(points, 6, np.random.default_rng(0), np.array([0, 7]))
    assert sorted([*long.tolist(), 0, 7]) == list(range(20))
    np.testing.assert_array_equal(long[:6], short)
    # All different values are drawn before any duplicate is.
    assert len(np.unique(points[[0, 7, *long[:3]]])) == 5
    assert (gaps[3:] == 0).all()


def test_distance_weighted_draws_in_proportion():
    points = np.array([[0.0], [1.0], [3.0]], np.float32)
    rng = np.random.default_rng(0)
    picks = [int(distance_weighted(points, 1, rng, np.array([0]))[0][0]) for _ in range(2000)]
    assert np.mean(np.equal(picks, 2)) == pytest.approx(0.9, abs=0.03)
    assert 0 not in picks


def test_one_and_two_threads_give_the_same_bytes():
    rng = np.random.default_rng(0)
    points = (rng.normal(size=(6, 48))[rng.integers(0, 6, 6000)] + rng.normal(size=(6000, 48))).astype(np.float32)
    ties = rng.integers(0, 5, size=(3000, 4)).astype(np.float32)

    def everything(threads):
        clusters = kmeans(points, 15, np.random.default_rng(0), threads=threads)
        return [
            clusters.centroids,
            clusters.labels,
            *knn(points, 7, threads),
            *knn(ties, 7, threads),
            *nearest(points, points[:40], threads),
            *farthest_first(points, 300, NONE, threads),
            *distance_weighted(points, 20, np.random.default_rng(0), NONE, threads),
        ]

    for one, two in zip(everything(1), everything(2), strict=True):
        assert one.tobytes() == two.tobytes()


def test_blocks_leave_blas_as_it_was():
    before = available_threads()
    map_blocks(lambda span: None, 4, 1, threads=2)
    assert available_threads() == before


@pytest.mark.parametrize("rows", [0, 1, 2, 60, 240])
def test_the_order_by_similarity_keeps_tight_groups_together(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from initpools_cli.geometry import similarity_order as module

    # 240 rows are more than one tree.
    monkeypatch.setattr(module, "TREE_ROWS", 100)
    rng = np.random.default_rng(0)
    groups = rng.permutation(np.arange(rows) % 6)
    points = np.eye(6, 8)[groups] + rng.normal(0, 0.01, (rows, 8))
    points = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
    order = module.similarity_order(points, np.random.default_rng(1))
    assert sorted(order.tolist()) == list(range(rows))
    assert np.count_nonzero(np.diff(groups[order])) == max(0, min(rows, 6) - 1)


def test_sparse_facility_location_equals_a_plain_loop():
    rng = np.random.default_rng(0)
    similar = rng.integers(0, 9, (30, 30)) * (rng.random((30, 30)) < 0.3)
    similar = np.maximum(np.maximum(similar, similar.T), 9 * np.eye(30)) / 9
    picks, gains = sparse_facility_location(csr_array(similar), 12, np.array([4, 7]))
    coverage = similar[[4, 7]].max(axis=0)
    for pick, gain in zip(picks, gains, strict=True):
        added = np.maximum(similar - coverage, 0).sum(axis=1)
        assert pick == np.flatnonzero(added >= added.max() - 1e-6)[0] and gain == pytest.approx(added[pick])
        coverage = np.maximum(coverage, similar[pick])
    assert len(picks) == 12
