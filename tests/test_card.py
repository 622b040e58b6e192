"""The report card of a pool, what each pick stands for, and strategies beside random pools."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tomli
from conftest import Initpools
from hypothesis import given, settings
from hypothesis import strategies as st

from initpools_cli.core.seeds import generator
from initpools_cli.geometry.pool_distances import distances_to_pools, pick_distances
from initpools_cli.stats import card
from initpools_cli.steps import compare_pools as against
from initpools_cli.steps.compare_pools import compare_pools
from initpools_cli.steps.full_card import full_facts
from initpools_cli.steps.report_card import CardData, nearness, short_card
from initpools_cli.steps.strategy_name import parse_strategy

LINE = np.array([[1.0], [2.0], [3.0], [11.0], [11.0], [15.0]], np.float32)


def line(labeled=None, mask=None, labels=None):
    mask = np.ones(len(LINE), bool) if mask is None else np.asarray(mask, bool)
    known_rows = None if labeled is None else np.array(labeled)
    names = () if labels is None else tuple("abcdef"[: max(labels) + 1])
    return CardData.of(
        LINE, False, np.flatnonzero(mask), known_rows, None if labels is None else np.array(labels), names
    )


def short(ground, picks):
    picks = np.array(picks)
    return short_card(ground, picks, nearness(ground, picks), "kcenter")


# ---- closed forms


def test_a_card_on_a_line():
    facts = short(line(), [1, 3])
    assert facts["coverage_radius"] == 4 and facts["mean_distance"] == (1 + 0 + 1 + 0 + 0 + 4) / 6
    assert facts["coverage_radius_95"] == pytest.approx(np.quantile([0, 0, 0, 1, 1, 4], 0.95))
    assert facts["spacing"] == 9 and facts["redundancy"] == 0 and facts["duplicates"] == 0
    assert (facts["images"], facts["budget"], facts["labeled"]) == (6, 2, 0)


def test_copies_among_the_picks_are_duplicates_once_each():
    facts = short(line(), [4, 0, 3])
    assert facts["duplicates"] == 1 and facts["redundancy"] == pytest.approx(2 / 3)
    assert facts["spacing"] == pytest.approx(10 / 3)


def test_a_single_pick_repeats_nothing_and_has_no_spacing():
    facts = short(line(), [3])
    assert facts["redundancy"] == 0 and facts["duplicates"] == 0 and "spacing" not in facts


def test_everything_is_redundant_where_all_images_are_the_same():
    ground = CardData.of(np.ones((5, 2), np.float32), True, np.arange(5), None)
    facts = short_card(ground, np.array([0, 1, 2]), nearness(ground, np.array([0, 1, 2])), "random")
    assert facts["redundancy"] == 1 and facts["duplicates"] == 2 and facts["coverage_radius"] == 0


def test_labeled_images_cover_as_picks_do_and_own_nothing():
    ground = line(labeled=[5, 3])
    near = nearness(ground, np.array([4, 1]))
    facts = short_card(ground, np.array([4, 1]), near, "kcenter")
    assert near.owner.tolist() == [1, 1, 1, 0, 0, 0]
    assert facts["coverage_radius"] == 1 and facts["labeled"] == 2
    assert facts["duplicates"] == 1, "image 4 is labeled image 3 again"


def test_images_left_out_of_a_long_tail_are_not_measured():
    facts = short(line(mask=[1, 1, 1, 1, 1, 0]), [1, 3])
    assert facts["coverage_radius"] == 1 and facts["images"] == 5


def test_classes_are_those_of_picks_and_labeled_images():
    labels = [0, 0, 1, 2, 2, 3]
    facts = short(line(labels=labels), [0, 1, 3])
    assert facts["class_counts"] == {"a": 2, "b": 0, "c": 1, "d": 0} and facts["classes_missed"] == 2
    assert facts["imbalance"] == 2
    assert facts["entropy"] == pytest.approx(-(2 / 3 * np.log(2 / 3) + 1 / 3 * np.log(1 / 3)) / np.log(4))
    both = short(line(labels=labels, labeled=[2, 5]), [0, 3])
    assert both["classes_missed"] == 0 and both["entropy"] == 1 and both["imbalance"] == 1
    assert short(line(labels=labels, mask=[1, 1, 1, 1, 1, 0]), [0, 2, 3])["classes_missed"] == 0


def test_one_class_is_even():
    assert card.balance(np.zeros(3, np.int64), np.array([0])) | {"counts": 0} == {
        "counts": 0, "classes_missed": 0, "entropy": 1.0, "imbalance": 1.0,
    }  # fmt: skip


def test_a_percentile_counts_ties_half():
    random = np.array([1.0, 2.0, 2.0, 3.0])
    assert card.compare_with_random(2, random, higher_is_better=True)["percentile"] == 0.5
    assert card.compare_with_random(0, random, higher_is_better=False)["percentile"] == 1
    assert card.compare_with_random(3, random, higher_is_better=False)["percentile"] == 1 / 8
    assert card.mean_percentile(random, random) == 0.5


def test_typicality_of_all_is_the_average_and_of_the_dense_is_high():
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(0, 0.01, (50, 2)), rng.normal(0, 3, (50, 2))]).astype(np.float32)
    ground = CardData.of(points, False, np.arange(100), None)
    strategy = parse_strategy("random")
    assert full_facts(ground, np.arange(100), strategy, 0, 20)["typicality"] == pytest.approx(0.5)
    dense, sparse = (full_facts(ground, picks, strategy, 0, 20) for picks in (np.arange(10), np.arange(50, 60)))
    assert dense["typicality"] > 0.6 > 0.4 > sparse["typicality"]
    assert dense["cluster_coverage"] < sparse["cluster_coverage"] <= 1
    assert dense["agreement"]["random"] == 0.1


# ---- naive twins


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 12), st.booleans())
def test_the_pass_over_all_pools_equals_pool_by_pool(seed, n, d, coarse):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n, d)).astype(np.float32)
    if coarse:
        points = np.round(points) + np.float32(100)
    pools = [rng.choice(n, rng.integers(1, n + 1), replace=False) for _ in range(7)]
    distances = distances_to_pools(points, points, pools)
    exact = points.astype(np.float64)
    for row, pool in zip(distances, pools, strict=True):
        naive = np.linalg.norm(exact[:, None] - exact[None, pool], axis=2).min(axis=1)
        np.testing.assert_allclose(row, naive, rtol=1e-9, atol=1e-9)
        assert (row[pool] == 0).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 15), st.integers(0, 6))
def test_gaps_equal_a_double_loop(seed, b, n_labeled):
    rng = np.random.default_rng(seed)
    picks, labeled = (rng.integers(0, 4, (m, 2)).astype(np.float32) for m in (b, n_labeled))
    gap, repeated = pick_distances(picks, labeled)
    for i in range(b):
        others = [np.linalg.norm(picks[i] - other) for j, other in enumerate(picks) if j != i]
        others += [np.linalg.norm(picks[i] - other) for other in labeled]
        assert gap[i] == pytest.approx(min(others, default=np.inf))
        assert repeated[i] == any((picks[i] == other).all() for other in [*picks[:i], *labeled])


@pytest.mark.parametrize("labeled", [None, [3, 7, 11]])
def test_the_random_pools_are_those_of_naive_cards(labeled):
    rng = np.random.default_rng(1)
    points = rng.normal(size=(120, 5)).astype(np.float32)
    labels = rng.integers(0, 4, 120)
    labeled_rows = None if labeled is None else np.array(labeled)
    ground = CardData.of(points, True, np.flatnonzero(np.arange(120) % 10), labeled_rows, labels, tuple("abcd"))
    ground = replace(ground, groups=np.arange(120) // 5)
    free = np.setdiff1d(ground.rows, ground.labeled)
    pools = {"first": free[:6], "last": free[-6:]}
    rows = compare_pools(ground, pools, 30, seed=5)
    random_pools = [generator(5, "random pool", i).choice(free, 6, replace=False) for i in range(30)]
    naive = [short(ground, picks) for picks in random_pools]
    assert {row["quantity"] for row in rows} == set(card.QUANTITIES)
    assert {name for name, higher in card.QUANTITIES.items() if higher} == {"spacing", "groups_covered", "entropy"}
    for row in rows:
        name, sign = row["quantity"], 1 if card.QUANTITIES[row["quantity"]] else -1
        values = np.array([each[name] for each in naive])
        own = short(ground, pools[row["strategy"]])[name]
        assert row["value"] == pytest.approx(own) and row["random_mean"] == pytest.approx(values.mean())
        assert row["random_5"] == pytest.approx(np.quantile(values, 0.05))
        assert row["random_95"] == pytest.approx(np.quantile(values, 0.95))
        worse = (sign * values < sign * own - 1e-12).mean()
        same = (np.abs(values - own) <= 1e-12).mean()
        assert row["percentile"] == pytest.approx(worse + same / 2)


def test_too_many_images_are_stood_for_by_a_sample(monkeypatch):
    points = np.random.default_rng(0).normal(size=(400, 3)).astype(np.float32)
    ground = CardData.of(points, False, np.arange(400), None)
    whole = compare_pools(ground, {"a": np.arange(5)}, 20, 0)
    monkeypatch.setattr(against, "PAIRS", 100 * 100)
    sampled = compare_pools(ground, {"a": np.arange(5)}, 20, 0)
    assert whole[0]["images"] == 400 and 100 <= sampled[0]["images"] < 200
    by = [next(row for row in rows if row["quantity"] == "mean_distance") for rows in (whole, sampled)]
    assert by[0]["value"] == pytest.approx(by[1]["value"], rel=0.2)


# ---- whole commands


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initpools: Initpools) -> Path:
    """A run of the digits with embeddings; its parent's parent is the current folder."""
    monkeypatch.chdir(tmp_path)
    assert initpools("embed", "pca", "--dataset", "digits", "--threads", 1).code == 0
    return tmp_path / "runs/digits"


def test_a_pool_comes_with_its_card_and_with_what_each_pick_stands_for(run: Path, initpools: Initpools) -> None:
    result = initpools("select-pool", "kcenter", "--budget", 8, "--json")
    printed_card, stored_card = (
        json.loads(result.out)["card"],
        tomli.loads((run / "pool/kcenter-b8-s0/card.toml").read_text()),
    )
    assert printed_card == stored_card and stored_card["budget"] == 8 and stored_card["images"] == 1438
    assert "coverage radius" in result.err and "classes missed" in result.err
    owner, mask = np.load(run / "pool/kcenter-b8-s0/represents.npy"), np.load(run / "data/kept.npy")
    rows = pd.read_csv(run / "pool/kcenter-b8-s0/items.csv")
    assert owner.dtype == np.int64 and owner.shape == mask.shape and ((owner == -1) == ~mask).all()
    assert np.bincount(owner[mask], minlength=8).tolist() == rows["represents"].tolist()
    assert owner[rows["index"]].tolist() == list(range(8))
    points = np.load(run / "embed/pca/train.npy").astype(np.float64)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    distances = np.linalg.norm(points[mask] - points[rows["index"].to_numpy()[owner[mask]]], axis=1)
    assert stored_card["coverage_radius"] == pytest.approx(distances.max(), rel=1e-5)
    assert stored_card["mean_distance"] == pytest.approx(distances.mean(), rel=1e-5)
    classes = pd.read_csv(run / "data/items.csv", dtype={"class": str})
    picked = classes[classes["split"] == "train"]["class"].to_numpy()[rows["index"]]
    assert {name: count for name, count in stored_card["class_counts"].items() if count} == dict(
        zip(*np.unique(picked, return_counts=True), strict=True)
    )
    again = initpools("select-pool", "kcenter", "--budget", 8)
    assert "already done" in again.err and "coverage radius" in again.err
    assert initpools("select-pool", "kcenter", "--budget", 8, "--quiet").err == ""
    assert "coverage" not in initpools("select-pool", "kcenter", "--budget", 8, "--card", "none").err
    assert initpools("verify").code == 0


def test_a_pool_without_embeddings_says_what_its_card_lacks_and_a_full_card_finds_them(
    run: Path, initpools: Initpools
) -> None:
    result = initpools("select-pool", "random", "--budget", 8)
    assert result.code == 0 and "not measured" in result.err and "coverage radius" not in result.err
    assert not (run / "pool/random-b8-s0/represents.npy").exists()
    full = initpools("select-pool", "random", "--budget", 8, "--card", "full", "--json")
    facts = json.loads(full.out)["card"]
    assert facts == tomli.loads((run / "card/random-b8-s0/card.toml").read_text())
    assert set(facts["agreement"]) == {"kcenter", "typiclust", "maxherding", "random"}
    assert facts["clusters"] == 10 and facts["cluster_coverage"] <= 0.8 and "coverage_radius" in facts
    assert 0.2 < facts["typicality"] < 0.8 and facts["agreement"]["random"] == 8 / 1438
    assert tomli.loads((run / "pool/random-b8-s0/card.toml").read_text())["lacks"]


def test_strategies_are_set_beside_random_pools(run: Path, initpools: Initpools) -> None:
    words = ["select-pool", "typiclust", "--budget", 10, "--compare", "coreset,random", "--random-pools", 40]
    result = initpools(*words, "--json")
    assert result.code == 0, result.err
    rows = json.loads(result.out)["compare"]
    file = run / "compare/typiclust-b10-s0/compare.csv"
    assert (
        len(rows) == 3 * len(set(card.QUANTITIES) - {"groups_covered"}) and pd.read_csv(file).to_dict("records") == rows
    )
    by = {(row["quantity"], row["strategy"]): row for row in rows}
    assert by["coverage_radius", "kcenter"]["percentile"] >= 0.95
    assert by["mean_distance", "typiclust"]["percentile"] >= 0.95
    assert all(row["random_5"] <= row["random_mean"] <= row["random_95"] for row in rows)
    stored = tomli.loads((run / "pool/kcenter-b10-s0/card.toml").read_text())
    assert by["mean_distance", "kcenter"]["value"] == pytest.approx(stored["mean_distance"], rel=1e-12)
    assert "40 random pools" in result.err and "coverage radius" in result.err
    before = file.read_bytes()
    assert "already done: pool/kcenter-b10-s0" in initpools(*words, "--force").err
    assert file.read_bytes() == before
    assert "already done: " in initpools("select-pool", "kcenter", "--budget", 10).err
    assert initpools("verify").code == 0


def test_pools_that_a_comparison_made_are_those_of_their_own_commands(run: Path, initpools: Initpools) -> None:
    np.save("known.npy", np.arange(5))
    shared = ["--labeled", "known.npy", "--set", "normalize=false", "--balance", "kmeans", "--set", "n_clusters=4"]
    assert initpools("select-pool", "random", "--budget", 6, *shared, "--compare", "kcenter").code == 0
    folder = run / "pool/kcenter-b6-s0"
    facts = tomli.loads((folder / "step.toml").read_text())
    before = (folder / "indices.npy").read_bytes()
    assert "already done" in initpools("select-pool", "kcenter", "--budget", 6, *shared).err
    assert initpools(*facts["renew"], "--run", run, "--force").code == 0
    assert [path.name for path in folder.parent.glob("kcenter*")] == ["kcenter-b6-s0"]
    assert (folder / "indices.npy").read_bytes() == before


def test_a_card_and_a_comparison_of_files_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initpools: Initpools
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    np.save("emb.npy", rng.normal(size=(90, 4)).astype(np.float32))
    np.save("scores.npy", rng.normal(size=90))
    words = ["select-pool", "kmeans", "--embeddings", "emb.npy", "--budget", 6, "-o", "pool.csv", "--json"]
    result = initpools(*words, "--card", "full", "--compare", "kcenter,random")
    assert result.code == 0, result.err
    payload = json.loads(result.out)
    assert payload["card"]["agreement"] and "class_counts" not in payload["card"] and payload["card"]["images"] == 90
    assert {row["strategy"] for row in payload["compare"]} == {"kmeans", "kcenter", "random"}
    assert "entropy" not in {row["quantity"] for row in payload["compare"]}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["emb.npy", "pool.csv", "scores.npy"]
    scored = initpools("select-pool", "score", "--scores", "scores.npy", "--budget", 3, "--card", "full", "--json")
    assert json.loads(scored.out)["card"] == {
        "strategy": "score", "budget": 3, "images": 90, "labeled": 0,
        "lacks": ["distances: 'score' was given no embeddings"],
    }  # fmt: skip


FAULTS = [
    (["--compare", "kmeens"], "'kmeens'", "'kmeans'"),
    (["--compare", "kmeans,coreset"], "names kcenter, the strategy of the pool itself", "anyway"),
    (["--compare", "kmeans,d2,kmeans"], "names kmeans more than once", "aliases"),
    (["--compare", " ,"], "names no strategy", "--compare kmeans,kcenter"),
    (["--compare", "kmeans,entropy"], "'entropy'", "--probs"),
    (["--compare", "kmeans,score"], "'score'", "--scores"),
    (["--compare", "kmeans", "--random-pools", 5], "5 is too few", "20 or more"),
    (["--random-pools", 50], "--random-pools requires --compare", "Add --compare"),
    (["--card", "ful"], "'ful'", "'full'"),
]


@pytest.mark.parametrize("where", ["run", "files"])
@pytest.mark.parametrize(("words", "fact", "remedy"), FAULTS)
def test_faults_are_said_and_leave_nothing(words, fact, remedy, where, tmp_path, monkeypatch, initpools) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("emb.npy", np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32))
    there = ["--embeddings", "emb.npy"]
    if where == "run":
        np.savez("few.npz", train_images=np.arange(40 * 64, dtype=np.uint8).reshape(40, 8, 8))
        assert initpools("embed", "pixels", "--dataset", "few.npz").code == 0
        there = []
    ended = initpools("select-pool", "kcenter", "--budget", 4, *there, *words)
    assert ended.code == 2 and fact in ended.err and remedy in ended.err, ended.err
    assert not list(tmp_path.glob("runs/*/compare/*")) and not list(tmp_path.glob("runs/*/pool/kmeans*"))


def test_a_damaged_card_is_made_again_by_the_command_that_is_said(run: Path, initpools: Initpools) -> None:
    initpools("select-pool", "kcenter", "--budget", 4)
    (run / "pool/kcenter-b4-s0/card.toml").write_text("budget = 5\n")
    ended = initpools("select-pool", "kcenter", "--budget", 4)
    assert ended.code == 2 and "was changed after it was written" in ended.err and "--force" in ended.err
