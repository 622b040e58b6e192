"""Intervals, learning curves, comparisons and projections against closed forms and naive twins."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.datasets import load_digits

from initpools_cli.core.errors import UserError
from initpools_cli.stats.agreement import pool_overlap, rank_agreement
from initpools_cli.stats.intervals import mean_interval
from initpools_cli.stats.learning_curves import area_under_curve, areas, failures, summarize, with_shared_start
from initpools_cli.stats.projection import pca_2d, tsne_2d


def row(init, query, seed, number, accuracy, *, status="ok", encoder="simclr"):
    """One row as rounds.csv has it."""
    return {
        "init": init,
        "query": query,
        "learner": "linear",
        "encoder": encoder,
        "seed": seed,
        "round": number,
        "labeled": 10 * (number + 1),
        "accuracy": accuracy,
        "status": status,
    }


def test_interval_of_two_values_has_the_closed_form():
    # With one degree of freedom t is Cauchy: the 95 % quantile is tan(0.475 pi), the standard error |a - b| / 2.
    mean, low, high = mean_interval([0.4, 0.6])
    half = math.tan(0.475 * math.pi) * 0.1
    assert mean == pytest.approx(0.5)
    assert (low, high) == pytest.approx((0.5 - half, 0.5 + half))


@given(st.lists(st.integers(-1000, 1000), min_size=2, max_size=30), st.floats(0.5, 0.999))
def test_interval_agrees_with_scipy(thousandths, level):
    values = np.array(thousandths) / 1000
    mean, low, high = mean_interval(values, level)
    if math.isnan(low):
        assert len(set(thousandths)) == 1
    else:
        twin = stats.t.interval(level, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
        assert (low, high) == pytest.approx(twin, rel=1e-6, abs=1e-9)
        assert low <= mean <= high


@pytest.mark.parametrize("values", [[], [0.7], [0.1] * 5, [math.nan, 0.3], [0.3, 0.3 + 1e-17]])
def test_no_interval_without_variation(values):
    mean, low, high = mean_interval(values)
    assert math.isnan(low)
    assert math.isnan(high)
    assert math.isnan(mean) == (not values)


@pytest.mark.parametrize("level", [0, 1, 95])
def test_interval_refuses_a_level_that_is_no_share(level):
    with pytest.raises(ValueError, match="between 0 and 1"):
        mean_interval([1, 2], level)


def test_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(2000):
        _, low, high = mean_interval(rng.normal(3.0, 2.0, size=5))
        hits += low <= 3.0 <= high
    assert 0.935 < hits / 2000 < 0.965


def test_round_zero_starts_every_query():
    rounds = pd.DataFrame(
        [row("random", None, s, 0, 0.5 + s / 10) for s in range(2)]
        + [row("random", query, s, 1, 0.7 + s / 10) for s in range(2) for query in ("margin", "entropy")]
    )
    table = summarize(rounds)
    assert list(table["query"]) == ["margin", "margin", "entropy", "entropy"]
    assert list(table["round"]) == [0, 1, 0, 1]
    assert list(table["labeled"]) == [10, 20, 10, 20]
    assert list(table["n_seeds"]) == [2] * 4
    assert table["mean"].to_numpy() == pytest.approx([0.55, 0.75, 0.55, 0.75])
    assert table[["low", "high"]].iloc[0].to_numpy() == pytest.approx(mean_interval([0.5, 0.6])[1:])


def test_first_pools_alone_are_curves_of_one_point():
    table = summarize(pd.DataFrame([row("random", np.nan, s, 0, 0.5 + s / 10) for s in range(3)]))
    assert table[["query", "round", "n_seeds"]].to_numpy().tolist() == [["", 0, 3]]


def test_a_failed_cell_is_counted_and_never_a_zero():
    rounds = pd.DataFrame(
        [row("random", "", s, 0, 0.5) for s in range(3)]
        + [row("random", "margin", 0, 1, 0.6), row("random", "margin", 1, 1, 0.8)]
        + [row("random", "margin", 2, 1, 0.0, status="failed")]
    )
    last = summarize(rounds).iloc[-1]
    assert last["mean"] == pytest.approx(0.7)
    assert (last["n_seeds"], last["n_failed"]) == (2, 1)
    assert summarize(rounds).iloc[0]["n_failed"] == 0
    assert failures(rounds)["seed"].tolist() == [2]
    assert areas(rounds)["area"].isna().tolist() == [False, False, True]


def test_a_failure_without_a_round_counts_from_the_start():
    broken = {**row("random", "margin", 1, 1, np.nan, status="failed"), "round": np.nan, "labeled": np.nan}
    rounds = pd.DataFrame([row("random", "", 0, 0, 0.5), row("random", "margin", 0, 1, 0.6), broken])
    assert summarize(rounds)["n_failed"].tolist() == [1, 1]


def test_a_metric_that_is_missing_is_left_out():
    rounds = pd.DataFrame([row("random", "", 0, 0, np.nan), row("random", "", 1, 0, 0.4)])
    assert summarize(rounds)[["n_seeds", "mean"]].to_numpy().tolist() == [[1, 0.4]]


def test_zero_variance_and_one_seed_have_no_interval():
    same = summarize(pd.DataFrame([row("kcenter", "", s, 0, 0.5) for s in range(5)]))
    one = summarize(pd.DataFrame([row("kcenter", "", 0, 0, 0.5)]))
    assert same["mean"].item() == 0.5
    assert same[["low", "high"]].isna().all(axis=None)
    assert one[["low", "high"]].isna().all(axis=None)


def test_summary_of_nothing_has_the_columns():
    empty = pd.DataFrame([row("random", "margin", 0, 1, np.nan, status="failed")])
    assert summarize(empty).empty
    assert "mean" in summarize(empty)


def test_missing_encoders_are_one_curve():
    table = summarize(pd.DataFrame([row("random", "", s, 0, 0.5 + s / 10, encoder=np.nan) for s in range(2)]))
    assert table["n_seeds"].tolist() == [2]


def test_area_of_a_line_is_its_mean_height():
    assert area_under_curve([10, 20, 50], [0.1, 0.2, 0.5]) == pytest.approx(0.3)
    assert area_under_curve([10, 110], [0.5, 0.5]) == pytest.approx(0.5)
    assert math.isnan(area_under_curve([10], [0.5]))


def test_areas_start_at_round_zero():
    rounds = pd.DataFrame([row("random", "margin", 4, 1, 0.8), row("random", "", 4, 0, 0.6)])
    assert areas(rounds)[["query", "seed", "area"]].to_numpy().tolist() == [["margin", 4, pytest.approx(0.7)]]


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 3), st.integers(0, 11), st.sets(st.integers(0, 11)), st.integers(0, 10**6))
def test_areas_are_those_of_each_cell_alone(last, queried, failed, root):
    rng = np.random.default_rng(root)
    names = [(i, q, s) for i in ("random", "kcenter") for q in ("margin", "entropy") for s in range(3)]
    rows = [row(i, "", s, 0, rng.random()) for i in ("random", "kcenter") for s in range(3)]
    rows += [row(*names[queried], r, rng.random()) for r in range(last + 1, last + 9)]
    rows += [
        row(*name, r, rng.random(), status="failed" if n in failed and r == last else "ok")
        for n, name in enumerate(names)
        for r in range(1, last + 1)
    ]
    rounds = pd.DataFrame(rows).sample(frac=1, random_state=root)
    expected = []
    keys = ["init", "query", "learner", "encoder", "seed"]
    for _, cell in with_shared_start(rounds).groupby(keys, sort=False):
        ordered = cell.sort_values("labeled")
        area = area_under_curve(ordered["labeled"], ordered["accuracy"])
        expected.append({**cell.iloc[0][keys], "area": area if (cell["status"] == "ok").all() else math.nan})
    pd.testing.assert_frame_equal(areas(rounds), pd.DataFrame(expected), check_exact=True, check_dtype=False)


@given(st.sets(st.integers(0, 20)), st.sets(st.integers(0, 20)))
def test_overlap_is_that_of_sets(first, second):
    shared, jaccard = pool_overlap(sorted(first), sorted(second))
    assert shared == len(first & second)
    if first | second:
        assert jaccard == pytest.approx(len(first & second) / len(first | second))
    else:
        assert math.isnan(jaccard)


@given(st.permutations(range(7)), st.integers(1, 9))
def test_rank_agreement_agrees_with_naive_twins(order, top):
    # Indices of a subset: neither dense nor in order of place.
    first = np.array([3, 50, 7, 21, 90, 4, 66])
    second = first[list(order)]
    got = rank_agreement(first, second, top)
    place = {image: i for i, image in enumerate(second)}
    theirs = [place[image] for image in first]
    agree = [np.sign(theirs[j] - theirs[i]) for i, j in itertools.combinations(range(7), 2)]
    head = min(top, 7)
    assert got.kendall == pytest.approx(np.mean(agree))
    assert got.spearman == pytest.approx(stats.spearmanr(np.arange(7), theirs).statistic)
    assert got.top_overlap == pytest.approx(len(set(first[:head]) & set(second[:head])) / head)


def test_equal_and_reversed_rankings():
    ranking = np.random.default_rng(0).permutation(1000)
    assert rank_agreement(ranking, ranking) == (1.0, pytest.approx(1.0), 100, 1.0)
    assert rank_agreement(ranking, ranking[::-1]) == (pytest.approx(-1.0), pytest.approx(-1.0), 100, 0.0)
    assert math.isnan(rank_agreement([5], [5]).spearman)


@pytest.mark.parametrize(
    ("first", "second", "fact"),
    [([0, 1, 1], [0, 1, 2], "more than once"), ([0, 1], [0, 1, 2], "2 and 3"), ([0, 1], [0, 2], "1 images")],
)
def test_rankings_of_other_images_are_refused(first, second, fact):
    with pytest.raises(UserError, match=fact):
        rank_agreement(first, second)


def test_pca_is_the_svd_with_fixed_signs():
    x = load_digits().data
    centered = x - x.mean(axis=0)
    _, _, axes = np.linalg.svd(centered, full_matrices=False)
    plane = pca_2d(x, 0)
    for i in range(2):
        axis = axes[i] * np.sign(axes[i][np.abs(axes[i]).argmax()])
        assert plane[:, i] == pytest.approx(centered @ axis, abs=1e-6)


@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (2, 3), (6, 2)])
def test_projections_of_little(shape):
    x = np.random.default_rng(0).normal(size=shape)
    for project in (pca_2d, tsne_2d):
        plane = project(x, 0)
        assert plane.shape == (shape[0], 2)
        assert np.isfinite(plane).all()


def test_constant_embeddings_are_one_point():
    assert not pca_2d(np.ones((10, 4))).any()
    assert np.isfinite(tsne_2d(np.ones((10, 4)))).all()


def test_tsne_repeats_and_keeps_neighbors():
    digits = load_digits()
    x, y = digits.data[:300], digits.target[:300]
    plane = tsne_2d(x, 1)
    assert np.array_equal(plane, tsne_2d(x, 1))
    distances = ((plane[:, None] - plane[None]) ** 2).sum(-1) + np.diag(np.full(300, np.inf))
    assert (y[distances.argmin(axis=1)] == y).mean() > 0.9
