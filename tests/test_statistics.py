"""Statistics over seeds and data sets: closed forms, naive twins, and how often noise is called a difference."""

from __future__ import annotations

import itertools
import json
import math
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tomli
from conftest import Initpools
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import recall_score, roc_auc_score

from initpools_cli.core.seeds import generator
from initpools_cli.stats import paired as paired_module
from initpools_cli.stats.correlation import correlation, first_and_later
from initpools_cli.stats.friedman import DRAWS, friedman, friedman_all, nemenyi
from initpools_cli.stats.intervals import RESAMPLES, bootstrap_t_intervals
from initpools_cli.stats.label_savings import labels_to_reach, savings
from initpools_cli.stats.metrics import classification_metrics, one_vs_rest_areas, recalls
from initpools_cli.stats.multi_dataset import across
from initpools_cli.stats.paired import holm, paired, paired_all, rank_biserial, sign_flip, sign_flips
from initpools_cli.stats.power import seeds_to_detect, seeds_to_reject, smallest_p
from initpools_cli.stats.split_error import EvaluatedImages, largest_variance, variance_over_images
from initpools_cli.stats.verdict_text import notes
from initpools_cli.stats.verdicts import MEASURES, decide, verdicts

steps = st.integers(-8, 8).map(lambda value: value / 10)


def sweep(
    inits: Sequence[str],
    seeds: int,
    *,
    gain: Mapping[str, float] | None = None,
    rounds: int = 2,
    queries: Sequence[str] = ("random", "margin"),
    noise: float = 0.02,
    root: int = 0,
) -> pd.DataFrame:
    """Rows of a ``rounds.csv``: curves that rise by a tenth a round, with noise, and a gain for some first pools."""
    rng = np.random.default_rng(root)
    cells = [
        (init, query, seed, round_)
        for init in inits
        for seed in range(seeds)
        for query in ("", *queries)
        for round_ in ([0] if not query else range(1, rounds + 1))
    ]
    rows = pd.DataFrame(cells, columns=["init", "query", "seed", "round"])
    heights = 0.4 + 0.1 * rows["round"] + rows["init"].map(gain or {}).fillna(0.0)
    return rows.assign(
        learner="linear",
        encoder="simclr",
        labeled=10 + 10 * rows["round"],
        accuracy=heights + noise * rng.normal(size=len(rows)),
        status="ok",
        error="",
    )


def fail(rounds: pd.DataFrame, *, init: str, query: str, seed: int) -> pd.DataFrame:
    """A cell that failed in its first query round: one row without metrics instead of the rounds after."""
    cell = (rounds["init"] == init) & (rounds["query"] == query) & (rounds["seed"] == seed)
    failed = rounds.assign(accuracy=rounds["accuracy"].mask(cell), status=rounds["status"].mask(cell, "failed"))
    return failed[~cell | (rounds["round"] == 1)]


# ---- metrics


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 5), st.integers(0, 10**6))
def test_recalls_and_areas_equal_those_of_scikit_learn(classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.r_[np.arange(classes), rng.integers(0, classes, 40)]
    probs = np.round(rng.dirichlet(np.ones(classes), len(labels)), 1)
    expected = recall_score(labels, probs.argmax(1), average=None, labels=range(classes))
    np.testing.assert_allclose(recalls(probs, labels, classes), expected)
    areas = [roc_auc_score(labels == k, probs[:, k]) for k in range(classes)]
    np.testing.assert_allclose(one_vs_rest_areas(probs, labels), areas)


def test_an_absent_class_has_no_recall_and_no_area() -> None:
    probs, labels = np.array([[0.8, 0.1, 0.1], [0.7, 0.2, 0.1]]), np.array([0, 1])
    np.testing.assert_array_equal(recalls(probs, labels, 3), [1, 0, np.nan])
    np.testing.assert_array_equal(one_vs_rest_areas(probs, labels), [1, 1, np.nan])
    assert classification_metrics(probs, labels)["absent_classes"] == 1


# ---- pairs


@settings(max_examples=40, deadline=None)
@given(st.lists(steps, min_size=1, max_size=9))
def test_sign_flips_equal_all_of_them_written_out(differences: list[float]) -> None:
    d = np.array(differences)
    sums = [abs(np.dot(signs, d)) for signs in itertools.product((1, -1), repeat=len(d))]
    assert sign_flip(d) == np.mean(np.array(sums) >= abs(d.sum()) - 1e-9)


def test_sign_flips_drawn_agree_with_all_of_them_and_with_scipy() -> None:
    d = np.random.default_rng(1).normal(0.3, 1, 31)
    theirs = stats.permutation_test(
        (d,), np.mean, permutation_type="samples", n_resamples=20_000, rng=np.random.default_rng(0)
    )
    assert sign_flip(d) == sign_flip(d) == pytest.approx(float(theirs.pvalue), abs=0.02)
    assert sign_flip(np.ones(30)) == smallest_p(30) == 2.0**-29


def flipped_alone(d: np.ndarray, draws: int) -> float:
    """The twin of sign flips that are drawn for many series at once."""
    rng, hits = generator(0, "sign flips"), 0
    for start in range(0, draws, 10_000):
        signs = 2.0 * rng.integers(0, 2, (min(10_000, draws - start), len(d))) - 1
        hits += int((np.abs(signs @ d) >= abs(d.sum()) - 1e-9 * np.abs(d).sum()).sum())
    return (hits + 1) / (draws + 1)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([1, 2, 9, 30, 31, 32]), st.integers(0, 3), st.integers(0, 99)), max_size=6),
    st.integers(1, 3),
)
def test_many_series_have_the_p_of_each_alone(kinds: list[tuple[int, int, int]], rows: int) -> None:
    # Rounded values have many equal sums.
    series = [np.round(np.random.default_rng(seed).normal(0.4, 1, n), digits) for n, digits, seed in kinds]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paired_module, "DRAWS", 12_000)
        patch.setattr(paired_module, "ROWS", rows)
        alone = [flipped_alone(d, 12_000) if len(d) > 30 else sign_flip(d) for d in series]
        assert sign_flips(series).tolist() == alone
        both = [(d + 1, np.ones(len(d))) for d in series]
        assert str(paired_all(both)) == str([paired(first, second) for first, second in both])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_its_definition(p: list[float]) -> None:
    order = np.argsort(p, kind="stable")
    expected = np.empty(len(p))
    for place, at in enumerate(order):
        expected[at] = min(1, max((len(p) - i) * p[order[i]] for i in range(place + 1)))
    np.testing.assert_allclose(holm(p), expected)


def test_a_missing_p_stays_in_the_family() -> None:
    np.testing.assert_array_equal(holm([0.01, math.nan, 0.5]), [0.03, math.nan, 1.0])


def test_effects_in_closed_form() -> None:
    comparison = paired([3.0, 4.0, 5.0, math.nan], [2.0, 2.0, 2.0, 1.0])
    assert (comparison.pairs, comparison.constant) == (3, "second")
    comparison = paired([3.0, 4.0, 5.0, math.nan], [2.0, 2.0, 1.0, 1.0])
    assert (comparison.pairs, comparison.p) == (3, 0.25) and comparison.difference == pytest.approx(7 / 3)
    assert comparison.effect == pytest.approx((7 / 3) / np.std([1, 2, 4], ddof=1))
    assert rank_biserial([1, 2, -3]) == 0 and rank_biserial([1, 2, 3, 0]) == 1 and math.isnan(rank_biserial([0.0]))


# ---- intervals


def test_bootstrap_t_intervals_equal_a_loop_and_scipy() -> None:
    rows = np.random.default_rng(0).exponential(size=(3, 14)) - 1
    intervals = bootstrap_t_intervals(rows)
    draws = generator(0, "bootstrap-t").integers(0, 14, (RESAMPLES, 14))
    for values, (low, high) in zip(rows, intervals, strict=True):
        mean, error = values.mean(), values.std(ddof=1) / math.sqrt(14)

        def t(sample: np.ndarray, axis: int = -1, mean: float = mean) -> np.ndarray:
            return (sample.mean(axis) - mean) / (sample.std(axis, ddof=1) / math.sqrt(14))

        quantiles = np.quantile([float(t(values[draw])) for draw in draws], [0.025, 0.975])
        assert (low, high) == pytest.approx((mean - quantiles[1] * error, mean - quantiles[0] * error))
        # SciPy has no bootstrap-t interval, but percentile intervals of any statistic.
        theirs = stats.bootstrap(
            (values,), t, n_resamples=RESAMPLES, method="percentile", rng=generator(0, "bootstrap-t")
        ).confidence_interval
        assert (low, high) == pytest.approx((mean - theirs.high * error, mean - theirs.low * error))
        # The long tail is to the right, so the mean may be far above.
        assert high - mean > mean - low
    # Each interval is of its own row.
    np.testing.assert_allclose(bootstrap_t_intervals(rows[1:2])[0], intervals[1])
    np.testing.assert_allclose(bootstrap_t_intervals(5 - 100 * rows), 5 - 100 * intervals[:, ::-1])


def test_values_without_a_bootstrap_t_interval() -> None:
    few = np.random.default_rng(0).normal(size=(2, 11))
    assert np.isnan(bootstrap_t_intervals(few)).all()
    rows = np.random.default_rng(0).normal(size=(4, 12))
    rows[1], rows[2] = 0.3, np.repeat([0.0, 1.0], [11, 1])
    # Samples without the one value that differs have no variance, and are 35 % of all.
    assert np.isnan(bootstrap_t_intervals(rows)).any(axis=1).tolist() == [False, True, True, False]
    assert bootstrap_t_intervals(np.empty((0, 12))).shape == (0, 2)
    with pytest.raises(ValueError, match="level=1"):
        bootstrap_t_intervals(rows, 1)


# ---- test images


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 6), st.integers(4, 12), st.integers(0, 10**6))
def test_the_variance_over_images_is_that_of_a_two_way_layout(seeds: int, images: int, root: int) -> None:
    rng = np.random.default_rng(root)
    first, second = rng.random((2, seeds, images)) < rng.random((2, 1, images))
    differences = first.astype(float) - second
    variance = variance_over_images(differences, np.zeros(images, np.int64), "accuracy")
    mean, by_seed, by_image = differences.mean(), differences.mean(axis=1), differences.mean(axis=0)
    between = seeds * sum((by_image[i] - mean) ** 2 for i in range(images)) / (images - 1)
    interaction = sum(
        (differences[s, i] - by_seed[s] - by_image[i] + mean) ** 2 for s in range(seeds) for i in range(images)
    ) / ((seeds - 1) * (images - 1))
    assert variance == pytest.approx(max(0, between - interaction) / seeds / images, abs=1e-12)
    # The bound holds for what is measured on the same images, also before the interaction is subtracted.
    bound = largest_variance(first.mean(), second.mean(), images)
    assert max(variance, between / seeds / images) <= bound + 1e-12
    # Classes of equal size: the balanced accuracy is the accuracy, and what classes differ by is no variance.
    pairs = np.repeat(differences, 2, axis=1)
    pairs[:, 1::2] += 3
    by_class = variance_over_images(pairs, np.arange(2 * images) % 2, "balanced_accuracy")
    residual = (differences - by_seed[:, None]) / 2 / images
    terms = residual.mean(axis=0) ** 2 - residual.var(axis=0, ddof=1) / seeds
    assert by_class == pytest.approx(max(0, 2 * images / (2 * images - 1) * 2 * terms.sum()), abs=1e-12)


def test_the_bound_is_reached_by_methods_that_are_right_on_different_images() -> None:
    first, second = np.arange(20) < 14, np.arange(20) >= 9
    assert np.var(first.astype(float) - second, ddof=1) / 20 == pytest.approx(largest_variance(0.7, 0.55, 20))
    assert largest_variance(1, 1, 20) == 0 and math.isnan(largest_variance(0.7, 0.5, 1))


def test_a_difference_on_a_few_images_is_doubted_for_others() -> None:
    rounds = sweep(["random", "a"], 12, rounds=0, queries=())
    rng = np.random.default_rng(0)
    correct = rng.random((24, 40)) < 0.5
    # At every seed the same three images.
    correct[:, :3] = (rounds["init"] == "a").to_numpy()[:, None]
    correct[:, 3:] = np.tile(correct[:12, 3:], (2, 1))
    correct[:12, 3:] ^= rng.random((12, 37)) < 0.02
    rounds["accuracy"] = correct.mean(axis=1)
    images = EvaluatedImages(40, correct, np.zeros(40, np.int64))
    plain, measured = verdicts(rounds), verdicts(rounds, images=images)
    bounded = verdicts(rounds, images=EvaluatedImages(40))
    # Nothing else in the table depends on the images.
    same = [name for name in plain if not name.startswith("test_")]
    pd.testing.assert_frame_equal(plain[same], measured[same])
    assert plain["verdict"].tolist() == ["better"] and plain["test_error"].isna().all()
    assert measured["test_error_kind"].tolist() == ["measured"] and bounded["test_error_kind"].tolist() == ["bound"]
    row = measured.iloc[0]
    assert row["test_low"] < 0 < row["low"] < row["high"] < row["test_high"]
    assert row["test_error"] < bounded["test_error"].iloc[0]
    total = math.hypot(row["test_error"], (row["high"] - row["difference"]) / stats.t.ppf(0.975, 11))
    assert row["test_high"] - row["difference"] == pytest.approx(stats.t.ppf(0.975, 11) * total)
    text = " ".join(notes(measured))
    assert "for these 40 test images" in text and "They include 0 for 1 of 1 verdicts of better or worse (a)." in text
    assert "upper bound" in " ".join(notes(bounded)) and "--force" in " ".join(notes(bounded))
    assert "test images" not in " ".join(notes(plain))
    many = EvaluatedImages(40, correct[:, rng.permutation(np.r_[:40])], np.zeros(40, np.int64))
    assert verdicts(rounds, images=many)["test_error"].iloc[0] == pytest.approx(row["test_error"])
    unknown = verdicts(rounds.assign(auc=rounds["accuracy"]), metric="auc", images=images)
    assert unknown["test_low"].isna().all() and "unknown for this metric" in " ".join(notes(unknown))


def test_bootstrap_t_intervals_are_in_the_table_from_twelve_seeds() -> None:
    rounds = fail(sweep(["random", "a", "b"], 13), init="a", query="margin", seed=4)
    table = verdicts(rounds)
    rows = table.set_index(["init", "query", "measure"])
    for name in (("a", "margin", "area"), ("b", "", "first pool")):
        low, high = rows.loc[name, ["bootstrap_low", "bootstrap_high"]]
        assert low < rows.loc[name, "difference"] < high
    first = rounds[rounds["round"] == 0].pivot(index="seed", columns="init", values="accuracy")
    expected = bootstrap_t_intervals([first["b"] - first["random"]])[0]
    np.testing.assert_allclose(rows.loc[("b", "", "first pool"), ["bootstrap_low", "bootstrap_high"]], expected)
    assert "allow for skewed differences" in " ".join(notes(table))
    few = verdicts(sweep(["random", "a"], 11))
    assert few["bootstrap_low"].isna().all() and "need 12 seeds; there are 11" in " ".join(notes(few))


# ---- power


def test_power_is_that_of_the_tables_and_of_trials() -> None:
    assert seeds_to_detect(2.0, 1.0) == 34  # Cohen's d = 0.5, two-sided, 80 %
    # Without a deviation, or with an unknown one, as many as can reject at all.
    assert [seeds_to_detect(each, 1.0) for each in (0.0, float("nan"), float("inf"))] == [seeds_to_reject(1)] * 3
    assert [seeds_to_reject(family) for family in (1, 10, 60)] == [6, 9, 12]
    needed = seeds_to_detect(0.012, 0.01, family=5)
    drawn = np.random.default_rng(0).normal(0.01, 0.012, (400, needed))
    assert 0.72 < np.mean([sign_flip(d) * 5 <= 0.05 for d in drawn]) < 0.88


# ---- verdicts


def test_noise_is_called_a_difference_no_more_often_than_is_said() -> None:
    # 1,000 sweeps in which six first pools are as good as random, with what a seed does to all of them.
    rng = np.random.default_rng(0)
    family, alarms, single = 6, 0, 0
    for _ in range(1000):
        shared = rng.normal(0, 0.03, 12)
        values = np.round(0.6 + shared + rng.normal(0, 0.02, (family + 1, 12)), 3)
        compared = [paired(row, values[0]) for row in values[1:]]
        corrected = holm([comparison.p for comparison in compared])
        verdicts_ = [decide(comparison, p, family) for comparison, p in zip(compared, corrected, strict=True)]
        alarms += any(verdict in ("better", "worse") for verdict in verdicts_)
        single += decide(compared[0], compared[0].p, 1) in ("better", "worse")
    # Three standard errors above 5 %; far below, the test would be of no use.
    assert 15 <= alarms <= 71
    assert 30 <= single <= 71


@pytest.mark.slow
def test_whole_tables_of_noise_raise_few_alarms() -> None:
    alarms = sum(
        bool(verdicts(sweep(["random", "a", "b"], 10, root=root))["verdict"].isin(["better", "worse"]).any())
        for root in range(25)
    )
    assert alarms <= 5


def test_a_gain_is_seen_and_told() -> None:
    table = verdicts(sweep(["random", "a", "b", "c"], 14, gain={"a": 0.05, "c": -0.05}))
    # The first pool comes before any query, so that it is compared once.
    assert table.groupby("measure").size().to_dict() == {"first pool": 3, "area": 6, "last round": 6}
    assert (table["family"] == 15).all() and (table["seeds"] == 14).all() and (table["lost"] == 0).all()
    assert (table.loc[table["init"] == "a", "verdict"] == "better").all()
    assert (table.loc[table["init"] == "c", "verdict"] == "worse").all()
    area = table[(table["init"] == "a") & (table["measure"] == "area") & (table["query"] == "margin")].iloc[0]
    assert area["sentence"].startswith(
        "a is better than random on average over the learning curve up to 30 labels (query margin, learner linear, "
        "encoder simclr): +"
    )
    assert f"p = {area['p_holm']:.2g} (corrected for 15 comparisons), 14 seeds." in area["sentence"]
    assert area["low"] < area["difference"] < area["high"] and area["difference"] == pytest.approx(0.05, abs=0.02)
    text = " ".join(notes(table))
    assert "Holm's method for all 15 comparisons of the sweep" in text and "one encoder, simclr" in text
    fewer = verdicts(sweep(["random", "a"], 14), measures=["area"])
    assert (fewer["family"] == 2).all()


def test_too_few_seeds_are_said_with_the_number_that_could() -> None:
    table = verdicts(sweep(["random", "a"], 3, gain={"a": 0.5}, noise=0.001))
    assert (table["verdict"] == "cannot be told apart with 3 seeds (8 could)").all()
    enough = verdicts(sweep(["random", "a"], 8, gain={"a": 0.5}, noise=0.001))
    assert (enough["verdict"] == "better").all()
    alone = verdicts(sweep(["random", "a"], 1))
    assert alone["verdict"].str.startswith("cannot be told apart with 1 seed (").all()


def test_nothing_that_varies_no_verdict() -> None:
    table = verdicts(sweep(["random", "a"], 8, gain={"a": 0.5}, noise=0.0))
    assert (table["verdict"] == "no verdict: nothing varies over the seeds").all()
    assert table[["p", "p_holm", "low", "effect"]].isna().all(axis=None)


def test_a_failed_cell_costs_its_pair_and_is_counted() -> None:
    rounds = fail(sweep(["random", "a", "b"], 9), init="a", query="margin", seed=4)
    table = verdicts(rounds).set_index(["init", "query", "measure"])
    # Its first pool had been measured before it failed.
    assert table.loc[("a", "", "first pool"), "seeds"] == 9
    for measure in ("area", "last round"):
        assert tuple(table.loc[("a", "margin", measure), ["seeds", "lost"]]) == (8, 1)
        assert tuple(table.loc[("a", "random", measure), ["seeds", "lost"]]) == (9, 0)
    assert "2 pairs of trials are left out" in " ".join(notes(table.reset_index()))
    # Without round 0 a curve would be of other labels.
    lost = rounds[~((rounds["init"] == "b") & (rounds["round"] == 0) & (rounds["seed"] == 0))]
    table = verdicts(lost).set_index(["init", "query", "measure"])
    assert table.loc[("b", "random", "area"), "seeds"] == 8 and table.loc[("b", "random", "last round"), "seeds"] == 9


def test_first_pools_alone_and_sweeps_without_random() -> None:
    assert verdicts(sweep(["random", "a"], 8, rounds=0, queries=()))["measure"].tolist() == ["first pool"]
    assert len(verdicts(sweep(["a", "b"], 8))) == 0 and notes(verdicts(sweep(["a", "b"], 8))) == []
    assert set(MEASURES) == set(verdicts(sweep(["a", "b"], 8), against="b")["measure"])


# ---- labels saved


def test_labels_to_reach_in_closed_form() -> None:
    curves = [[0.2, 0.4, 0.6], [0.5, 0.4, 0.6], [0.1, 0.1, 0.2], [0.1, 0.5, 0.5]]
    np.testing.assert_allclose(labels_to_reach([10, 20, 40], curves, [0.5] * 4), [30, 10, np.inf, 20])


def test_labels_saved() -> None:
    rounds = sweep(["random", "a", "b"], 10, gain={"a": 0.1, "b": -0.3}, noise=0.005)
    table = savings(rounds).set_index(["init", "query"])
    assert list(table.index) == [("a", "random"), ("a", "margin"), ("b", "random"), ("b", "margin")]
    a, b = table.iloc[1], table.iloc[3]
    # A tenth more is a round of ten labels less.
    assert a["labels"] == pytest.approx(20, abs=1.5) and a["low"] <= a["labels"] <= a["high"] and a["of"] == 30
    assert math.isinf(b["labels"]) and b["never"] == 1


# ---- data sets


def test_tables_that_share_permutations_have_the_p_of_each_alone() -> None:
    rng = np.random.default_rng(0)
    tables = [
        np.round(rng.normal(size=shape) + effect * rng.random(shape[1]), 1)
        for shape in ((6, 3), (5, 4))
        for effect in (0, 1)
    ]
    for values, result in zip(tables, friedman_all(tables), strict=True):
        ranks = stats.rankdata(-values, axis=1)
        drawn = generator(0, "friedman").permuted(np.broadcast_to(ranks, (DRAWS, *ranks.shape)), axis=2)
        hits = ((drawn.sum(1) ** 2).sum(1) >= (ranks.sum(0) ** 2).sum() - 1e-9).sum()
        assert result.p == (hits + 1) / (DRAWS + 1)


def test_friedman_is_that_of_scipy_and_exact_for_few_blocks() -> None:
    values = np.random.default_rng(0).normal(size=(12, 4))
    theirs = stats.friedmanchisquare(*values.T)
    result = friedman(values)
    assert result.statistic == pytest.approx(theirs.statistic)
    assert result.p == pytest.approx(theirs.pvalue, abs=0.05)
    # Three methods in the same order on three data sets: 1 of 36 arrangements is as even as this one is extreme.
    assert friedman([[3, 2, 1]] * 3).p == pytest.approx(1 / 36, abs=0.005)
    assert friedman(np.ones((3, 3))).p == 1
    tied = np.round(values, 0)
    assert friedman(tied).statistic == pytest.approx(stats.friedmanchisquare(*tied.T).statistic)


def test_nemenyi_is_that_of_the_published_table() -> None:
    # Demšar 2006, table 5: q of 0.05 for 5 and for 10 classifiers.
    assert nemenyi(5, 10) == pytest.approx(2.728 * math.sqrt(5 * 6 / 60), abs=1e-3)
    assert nemenyi(10, 20) == pytest.approx(3.164 * math.sqrt(10 * 11 / 120), abs=1e-3)


def test_first_pools_are_ranked_over_data_sets() -> None:
    gains = {"a": 0.1, "b": -0.1}
    rows = across(
        [sweep(["random", "a", "b", *more], 3, gain=gains, root=i) for i, more in enumerate(["c", "", "d", "", "e"])]
    )
    assert [(row.measure, row.query) for row in rows[:2]] == [("first pool", ""), ("area", "random")]
    assert all(row.ranks == {"random": 2, "a": 1, "b": 3} and row.blocks == 5 and row.family == 5 for row in rows)
    assert "first pools differ" in rows[0].sentence and "a 1.00, random 2.00, b 3.00" in rows[0].sentence
    few = across([sweep(["random", "a"], 3, gain=gains, root=i) for i in range(3)])
    assert "3 data sets are too few" in few[0].sentence
    assert across([sweep(["random", "a"], 3)]) == []


# ---- what goes together


def test_correlations_are_those_of_scipy() -> None:
    rng = np.random.default_rng(0)
    x = np.round(rng.normal(size=30), 1)
    y = x + rng.normal(size=30)
    result, pearson, spearman = correlation(x, y), stats.pearsonr(x, y), stats.spearmanr(x, y)
    assert (result.pearson, result.pearson_p) == pytest.approx((pearson.statistic, pearson.pvalue))
    assert (result.pearson_low, result.pearson_high) == pytest.approx(tuple(pearson.confidence_interval()))
    assert (result.spearman, result.spearman_p) == pytest.approx((spearman.statistic, spearman.pvalue))
    # Bonett and Wright's interval (2000), with the variance (1 + r² / 2) / (n − 3).
    half = 1.959964 * math.sqrt((1 + result.spearman**2 / 2) / 27)
    bounds = [math.tanh(math.atanh(result.spearman) + sign * half) for sign in (-1, 1)]
    assert [result.spearman_low, result.spearman_high] == pytest.approx(bounds)
    assert correlation(x, 2 * x).pearson_high == pytest.approx(1)
    assert math.isnan(correlation(x, np.ones(30)).pearson) and math.isnan(correlation(x[:3], y[:3]).pearson)


def test_correlation_intervals_cover() -> None:
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(300):
        x, y = rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], 25).T
        result = correlation(x, y)
        true_spearman = 6 / math.pi * math.asin(0.6 / 2)
        covered.append(
            (
                result.pearson_low <= 0.6 <= result.pearson_high,
                result.spearman_low <= true_spearman <= result.spearman_high,
            )
        )
    assert (np.abs(np.mean(covered, axis=0) - 0.95) < 0.04).all()


def test_first_pools_go_with_later_rounds_within_and_between_strategies() -> None:
    gains = {f"s{i}": 0.1 * i for i in range(6)}
    table = first_and_later(sweep(["random", *gains], 8, gain=gains))
    between = table[table["init"] == ""]
    assert (between["pairs"] == 7).all() and (between["pearson"] > 0.9).all()
    within = table[table["init"] != ""]
    assert (within["pairs"] == 8).all() and abs(within["pearson"].mean()) < 0.3


# ---- commands


@pytest.fixture(scope="module")
def swept(pretrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of the digits that has a sweep of 9 seeds, a ranking and a pool."""
    from initpools_cli.cli.app import run as run_command_line

    folder = tmp_path_factory.mktemp("swept")
    shutil.copytree(pretrained / "runs", folder / "runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        sweep_words = ["--init", "random,kmeans", "--query", "random", "--budget", "6", "--rounds", "1", "--seeds", "9"]
        for words in (
            ["al-run", *sweep_words, "--threads", "1", "-q"],
            ["rank", "kcenter", "--from", "simclr", "-q"],
            ["select-pool", "random", "--budget", "4", "-q"],
        ):
            # Steps record the command line of their process.
            patch.setattr(sys, "argv", ["initpools", *words])
            assert run_command_line(words) == 0
    return folder


def test_compare_judges_a_sweep(swept: Path, initpools: Initpools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(swept)
    ended = initpools("compare", "main", "--json")
    report = json.loads(ended.out)
    assert [(row["init"], row["query"], row["measure"]) for row in report["verdicts"]] == [
        ("kmeans", "", "first pool"),
        ("kmeans", "random", "area"),
        ("kmeans", "random", "last round"),
    ]
    assert all(row["seeds"] == 9 and row["family"] == 3 for row in report["verdicts"])
    assert all(row["test_error_kind"] == "measured" and row["test_images"] == 359 for row in report["verdicts"])
    assert all(row["test_low"] <= row["low"] and row["bootstrap_low"] is None for row in report["verdicts"])
    assert "need 12 seeds; there are 9" in ended.err and "359 test images" in ended.err
    header = initpools("compare", "main").out.splitlines()[0].split("\t")
    assert header[13:] == ["verdict", "bootstrap_low", "bootstrap_high", "test_low", "test_high"]
    rounds = (
        pd.read_csv(swept / "runs/digits/al/main/rounds.csv").query("round == 0").groupby("init")["accuracy"].mean()
    )
    assert report["verdicts"][0]["difference"] == pytest.approx(rounds["kmeans"] - rounds["random"])
    assert report["savings"][0]["of"] == 12 and "all 3 comparisons" in report["notes"][0] and "verdicts: " in ended.err
    assert initpools("compare", swept / "runs/digits/al/main").out == initpools("compare", "al/main").out.replace(
        "al/main\t", f"{swept}/runs/digits/al/main\t"
    )
    area = json.loads(initpools("compare", "main", "--measure", "area", "--against", "kmeans", "--json").out)[
        "verdicts"
    ]
    assert [(row["init"], row["against"], row["family"]) for row in area] == [("random", "kmeans", 1)]


def test_sweeps_of_older_versions_get_a_bound(
    swept: Path, tmp_path: Path, initpools: Initpools, monkeypatch: pytest.MonkeyPatch
) -> None:
    from initpools_cli.core.checked_toml import write_checked_toml

    shutil.copytree(swept / "runs", tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    new = json.loads(initpools("compare", "main", "--json").out)["verdicts"]
    folder = tmp_path / "runs/digits/al/main"
    (folder / "test_correct.npz").write_bytes(b"x")
    damaged = initpools("compare", "main")
    assert damaged.code == 2 and "test_correct.npz" in damaged.err and "was changed" in damaged.err
    (folder / "test_correct.npz").unlink()
    facts = tomli.loads((folder / "step.toml").read_text())
    del facts["writes"]["test_correct.npz"], facts["checksum"]
    write_checked_toml(folder / "step.toml", facts)
    old = json.loads(initpools("compare", "main", "--json").out)["verdicts"]
    for before, after in zip(old, new, strict=True):
        assert before["test_error_kind"] == "bound" and before["test_error"] > after["test_error"]
        assert {key: value for key, value in before.items() if not key.startswith("test_")} == {
            key: value for key, value in after.items() if not key.startswith("test_")
        }


def test_rankings_go_with_random_pools_at_every_budget(
    swept: Path, initpools: Initpools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(swept)
    rows = json.loads(initpools("compare", "kcenter", "--accuracy", "main", "--json").out)
    assert [(row["labeled"], row["pools"]) for row in rows] == [(6, 9), (12, 9)]
    every = json.loads(initpools("compare", "kcenter", "--accuracy", "main", "--all", "--json").out)
    assert [row["pools"] for row in every] == [18, 18]
    order = np.load(swept / "runs/digits/rank/kcenter/sorted_idx.npy").tolist()
    rounds = pd.read_csv(swept / "runs/digits/al/main/rounds.csv", keep_default_na=False)
    last = rounds[(rounds["init"] == "random") & (rounds["round"] == 1)]
    with np.load(swept / "runs/digits/al/main/picks.npz") as picks:
        means = [
            np.mean([order.index(i) for i in picks[f"random|random|linear|simclr|{seed}"]]) for seed in last["seed"]
        ]
    assert rows[1]["pearson"] == pytest.approx(
        stats.pearsonr(-np.array(means), last["accuracy"].astype(float)).statistic
    )
    assert rows[1]["pearson_low"] < rows[1]["pearson"] < rows[1]["pearson_high"]


@pytest.mark.parametrize(
    ("words", "fact", "remedy"),
    [
        (["main", "main"], "more than once", "once"),
        (["main", "kcenter"], "kcenter is not", "Compare sweeps"),
        (["main", "nosuch"], "nosuch is not", "Compare sweeps"),
        (["main", "--against", "typiclust"], "its first pools are random, kmeans", "--against"),
        (["main", "--against", "kmeens"], "'kmeens'", "'kmeans'"),
        (["main", "--metric", "acuracy"], "'acuracy'", "'accuracy'"),
        (["main", "--measure", "arena"], "'arena'", "'area'"),
        (["kcenter", "random-b4-s0", "--metric", "auc"], "kcenter is not one", "Leave out --against"),
        (["kcenter", "--accuracy", "main", "--against", "kmeans"], "kcenter is not one", "Leave out --against"),
        (["kcenter", "random-b4-s0", "--all"], "--all", "--accuracy"),
        (["kcenter", "--accuracy", "nosuch"], "'nosuch'", "al-run"),
        (["runs/digits/al/none", "main"], "runs/digits/al/none is not", "Compare sweeps"),
    ],
)
def test_comparisons_that_mean_nothing_are_refused(
    words: list[str], fact: str, remedy: str, swept: Path, initpools: Initpools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(swept)
    ended = initpools("compare", *words)
    assert ended.code == 2 and ended.out == "" and "Traceback" not in ended.err
    assert fact in ended.err and remedy in ended.err


def _without_accuracy(rounds: pd.DataFrame) -> pd.DataFrame:
    return rounds.drop(columns="accuracy")


def _with_a_word(rounds: pd.DataFrame) -> pd.DataFrame:
    return rounds.astype({"accuracy": object}).assign(accuracy="good")


def _in_percent(rounds: pd.DataFrame) -> pd.DataFrame:
    return rounds.assign(accuracy=100 * rounds["accuracy"])


def _doubled(rounds: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([rounds, rounds.tail(1)])


@pytest.mark.parametrize(
    ("edit", "fact"),
    [
        (_without_accuracy, "no column 'accuracy'"),
        (_with_a_word, "not numbers"),
        (_in_percent, "not between 0 and 1"),
        (_doubled, "seed 8, more than once"),
    ],
)
@pytest.mark.parametrize("resealed", [False, True])
def test_results_edited_by_hand_are_refused(
    edit: Any,
    fact: str,
    resealed: bool,
    swept: Path,
    tmp_path: Path,
    initpools: Initpools,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from initpools_cli.core.checked_toml import write_checked_toml
    from initpools_cli.core.files import sha256_of

    shutil.copytree(swept / "runs", tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    file, step = (tmp_path / "runs/digits/al/main" / name for name in ("rounds.csv", "step.toml"))
    before = sha256_of(file)
    edit(pd.read_csv(file)).to_csv(file, index=False)
    if resealed:
        facts = tomli.loads(step.read_text().replace(before, sha256_of(file)))
        write_checked_toml(step, {key: value for key, value in facts.items() if key != "checksum"})
    for words in (["compare", "main"], ["compare", "kcenter", "--accuracy", "main"]):
        ended = initpools(*words)
        assert ended.code == 2 and "Traceback" not in ended.err and "al-run" in ended.err
        assert (fact if resealed else "was changed after it was written") in ended.err
