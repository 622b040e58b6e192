"""Embedding rows that say nothing new: what is found, what comes last, what is kept apart, what is left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tomli
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from plain import QUICK

from initpools_cli import select
from initpools_cli.core.errors import UserError
from initpools_cli.geometry import duplicates as copies
from initpools_cli.geometry.duplicates import first_equal
from initpools_cli.steps.evaluate import evaluate
from initpools_cli.steps.strategy_name import parse_strategy
from initpools_cli.strategies.duplicates import RowFacts, zero_rows
from initpools_cli.strategies.limits import MinDistance
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.select import choose
from initpools_cli.testing import cloud

DTYPES = [np.float16, np.float32, np.float64, np.longdouble, np.int64, np.uint8, bool]
FEW = st.sampled_from([0.0, -0.0, 1.0, 2.0])


@pytest.mark.parametrize("collide", [False, True])
@given(rows=arrays(np.float64, st.tuples(st.integers(1, 30), st.integers(1, 3)), elements=FEW), which=st.integers(0, 6))
def test_equal_rows_are_found_whatever_their_kind_and_where_hashes_collide(collide, rows, which):
    typed = rows.astype(DTYPES[which])
    hashes = copies._hashes
    if collide:
        copies._hashes = lambda rows: hashes(rows) % 2
    try:
        first_rows = first_equal(typed)
    finally:
        copies._hashes = hashes
    naive = [next(j for j in range(i + 1) if (typed[j] == typed[i]).all()) for i in range(len(typed))]
    assert first_rows.tolist() == naive


def test_equal_rows_of_a_mapped_file_are_found_across_blocks(tmp_path):
    rows = cloud(5000, 300)
    rows[4990:] = rows[:10]
    np.save(tmp_path / "rows.npy", rows)
    first_rows = first_equal(np.load(tmp_path / "rows.npy", mmap_mode="r"))
    assert np.flatnonzero(first_rows != np.arange(5000)).tolist() == list(range(4990, 5000))
    assert first_rows[4990:].tolist() == list(range(10))


def test_a_row_is_zero_where_rounding_may_have_left_it():
    rows = cloud(20).astype(np.float64)
    rows[3] = 0
    rows[4] = 1e-8 * rows[4]
    rows[5] = 1e-300
    rows[6] = 1e-5 * rows[6]
    rows[7] = 1e30
    assert np.flatnonzero(zero_rows(rows)).tolist() == [3, 4, 5]
    # Of rows that are all short none is shorter than the others.
    assert not zero_rows(1e-40 * cloud(20)).any()
    assert zero_rows(np.zeros((3, 2))).all()


def naive_order(order, points, labeled, distance):
    """The order, without what is closer than the distance to what is taken before it or labeled."""
    chosen_points = [points[i].astype(float) for i in labeled]
    picks = []
    for i in order:
        if all(np.sqrt(((points[i] - other) ** 2).sum()) >= distance for other in chosen_points):
            picks.append(int(i))
            chosen_points.append(points[i].astype(float))
    return picks


# Whole numbers, so that distances are equal to the last bit however they are summed.
POINTS = arrays(np.float32, st.tuples(st.integers(3, 40), st.just(2)), elements=st.integers(1, 9).map(float))


@settings(max_examples=30)
@given(points=POINTS, distance=st.sampled_from([0.5, 1.0, 1.5, 2.0, 5.0]), data=st.data())
def test_a_least_distance_skips_what_is_too_close_in_the_order_of_the_scores(points, distance, data):
    n = len(points)
    labeled = data.draw(st.lists(st.integers(0, n - 1), max_size=3, unique=True))
    scores = data.draw(st.permutations(range(n))) if n > 2 else []
    if len(np.unique(points, axis=0)) < 2 or len(labeled) == n:
        return
    order = [i for i in np.argsort(-np.array(scores), kind="stable") if i not in labeled]
    # Of equal rows the lowest is the one that is chosen.
    first = [next(j for j in range(n) if j not in labeled and (points[j] == points[i]).all()) for i in order]
    order = [i for i, lowest in zip(order, first, strict=True) if i == lowest]
    expected = naive_order(order, points, labeled, distance)
    budget = data.draw(st.integers(1, n - len(labeled)))
    how = {"labeled": labeled, "normalize": False, "min_distance": distance, "facts": RowFacts.of(points)}
    inputs = {"scores": np.array(scores, float)}
    if not expected:
        with pytest.raises(UserError, match="All images are closer than min_distance"):
            choose("score", inputs, budget, **how)
        return
    assert choose("score", inputs, budget, **how).indices.tolist() == expected[:budget]


def test_many_picks_are_kept_apart_as_few_are():
    # More than are compared at once.
    points = np.random.default_rng(0).integers(1, 50, (600, 2)).astype(np.float32)
    order = np.random.default_rng(1).permutation(600)
    kept = order[MinDistance(points, 3.0).spaced(order)]
    assert kept.tolist() == naive_order(order, points, [], 3.0) and len(kept) > 150


@settings(max_examples=30)
@given(points=POINTS, distance=st.sampled_from([1.0, 2.0, 5.0]), budget=st.integers(1, 9))
def test_kcenter_with_a_least_distance_is_kcenter_image_by_image(points, distance, budget):
    points = np.unique(points, axis=0)[::-1].copy()
    if not 2 <= budget <= len(points):
        return
    picks = choose("kcenter", {"embeddings": points}, budget, normalize=False, min_distance=distance).indices.tolist()
    expected = []
    while len(expected) < budget:
        far = [i for i in range(len(points)) if naive_order([i], points, expected, distance)]
        if not far:
            break
        close = [i for i in range(len(points)) if i not in far and i not in expected]
        expected += choose(
            "kcenter", {"embeddings": points}, 1, labeled=expected, exclude=close, normalize=False
        ).indices.tolist()
    assert picks == expected


SPACED = [m for m in strategies if "embeddings" in {*m.inputs, *m.optional} and not m.traits.needs_model]


@pytest.mark.parametrize("balance", ["none", "kmeans"])
@pytest.mark.parametrize("method", [pytest.param(m, id=m.name) for m in SPACED])
def test_every_strategy_keeps_its_picks_apart_and_leaves_out_nothing_that_is_far(method, balance):
    points = cloud(60, 3)
    inputs = {
        "embeddings": points,
        "labels": np.arange(60) % 3,
        "scores": points[:, 0].astype(float),
        "query_set": points[:3],
    }
    options = {
        "labeled": [4, 9],
        "normalize": False,
        "balance": balance,
        "n_clusters": 3,
        "knobs": QUICK.get(method.name),
    }
    for distance, budget in ((0.5, 10), (1.5, 40)):
        picks = choose(method.name, inputs, budget, min_distance=distance, **options).indices
        chosen = points[[4, 9, *picks]].astype(float)
        gaps = np.linalg.norm(chosen[:, None] - chosen[None], axis=2) + 9 * np.eye(len(chosen))
        gaps[0, 1] = gaps[1, 0] = 9
        assert gaps.min() >= distance
        if len(picks) < budget:
            assert (np.linalg.norm(points[:, None] - chosen[None], axis=2).min(axis=1) < distance).all()
        else:
            assert len(picks) == budget


def test_a_balanced_choice_with_a_least_distance_stays_even():
    clusters = np.repeat([0, 1, 2], 20)
    points = cloud(60, 3)
    points[:10] = points[0] + 1e-3 * cloud(10, 3)
    inputs = {"embeddings": points, "clusters": clusters}
    selection = choose("kcenter", inputs, 9, normalize=False, balance="clusters", min_distance=0.1)
    assert selection.clusters.tolist() == [0, 1, 2] * 3
    assert (clusters[selection.indices] == selection.clusters).all()


@pytest.mark.parametrize("name", ["typicality", "outlier", "prototypicality", "duplicate"])
def test_scores_of_embeddings_leave_out_rows_of_length_zero_and_what_is_excluded(name):
    points = cloud(60)
    scoring = parse_strategy(name).scoring
    knobs = scoring.validate({})
    points[[3, 8]] = 0
    others = np.setdiff1d(np.arange(60), [3, 8])
    alone = evaluate(scoring, {"embeddings": points[others]}, knobs, True, 0)
    scores = evaluate(scoring, {"embeddings": points}, knobs, True, 0)
    np.testing.assert_array_equal(scores[others], alone)
    np.testing.assert_array_equal(scores[[3, 8]], np.median(alone))
    seen = np.arange(60) % 4 > 0
    among = evaluate(scoring, {"embeddings": points}, knobs, True, 0, None, seen)
    np.testing.assert_array_equal(
        among[seen & (scores == scores)][:3], evaluate(scoring, {"embeddings": points[seen]}, knobs, True, 0)[:3]
    )


@pytest.mark.parametrize("name", ["kcenter", "typiclust", "typicality", "outlier"])
def test_select_leaves_zero_rows_and_copies_for_last_and_warns_of_the_zero_rows(name):
    points = cloud(60)
    points[[3, 8]] = 0
    points[[20, 21]] = points[10]
    with pytest.warns(UserWarning, match=r"2 of 60 embeddings are zero.* \(rows 3, 8\)"):
        every = select(points, name, 60)
    assert every[-4:].tolist() == [20, 21, 3, 8]
    with pytest.warns(UserWarning, match=r"1 of 58 embeddings are zero.* \(rows 8\)"):
        few = select(points, name, 50, exclude=[3, 10])
    assert not np.isin(few, [3, 8, 10, 21]).any()
    with pytest.warns(UserWarning) as warned:
        apart = select(points, name, 60, min_distance=0.5)
    assert len(apart) < 60
    assert any("min_distance = 0.5" in str(each.message) for each in warned)


def test_copies_come_in_the_order_of_their_originals():
    points = np.repeat([[2.0], [11.0], [8.0], [0.0]], 3, axis=0)
    with pytest.warns(UserWarning, match="3 of 12 embeddings are zero"):
        picks = select(points, "kcenter", 12, normalize=False, copies="last")
    # Farthest first: 8 is nearest to the mean, then 2 and 11; the copies of each likewise.
    assert picks.tolist() == [6, 0, 3, 7, 1, 4, 8, 2, 5, 9, 10, 11]


def test_given_orders_and_baselines_stay_as_they_are():
    points = np.repeat(cloud(6), 5, axis=0)
    points[:5] = 0
    scores = np.arange(30.0)
    assert select(points, "score", 30, scores=scores).tolist() == list(range(29, -1, -1))
    assert select(points, "typicality", 30, scores=scores).tolist() == list(range(29, -1, -1))
    assert select(points, "file", 3, order=[1, 2, 3]).tolist() == [1, 2, 3]
    plain = select(cloud(30), "random", 9, seed=2)
    assert select(points, "random", 9, seed=2).tolist() == plain.tolist()
    with pytest.raises(UserError, match="min_distance has no effect: 'random' reads no embeddings"):
        select(points, "random", 9, min_distance=0.1)


# ---- commands on files


@pytest.fixture
def cases(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 64)).astype(np.float32)
    rows[[10, 60, 110, 160, 210]] = 0
    np.save("zero-rows.npy", rows)
    np.save("all-equal.npy", np.ones((50, 8), np.float32))
    copied = np.repeat(rng.normal(size=(5, 8)), [40, 30, 20, 8, 2], axis=0).astype(np.float32)
    np.save("five-copied.npy", copied)
    np.save("excluded.npy", np.arange(5, 300))
    return tmp_path


@pytest.mark.parametrize("normalize", ["true", "false"])
@pytest.mark.parametrize("strategy", ["kmeans", "kcenter", "typiclust", "typicality"])
def test_zero_rows_are_told_once_with_their_numbers_and_ranked_last(initpools, cases, strategy, normalize):
    options = ("--embeddings", "zero-rows.npy", "--set", f"select.normalize={normalize}")
    ended = initpools("select-pool", strategy, "--budget", "20", *options)
    assert ended.code == 0
    assert ended.err.count("5 of 300 embeddings are zero") == 1
    assert "(rows 10, 60, 110, 160, 210)" in ended.err
    assert not {10, 60, 110, 160, 210} & {int(line) for line in ended.out.split()}
    ranked = initpools("rank", strategy, *options, "--quiet")
    assert [int(line) for line in ranked.out.split()][-5:] == [10, 60, 110, 160, 210]
    assert "5 of 300 embeddings are zero" in ranked.err


def test_embeddings_that_are_all_equal_are_refused_by_the_command(initpools, cases):
    for command in (["select-pool", "typiclust", "--budget", "5"], ["rank", "typicality"]):
        ended = initpools(*command, "--embeddings", "all-equal.npy")
        assert ended.code == 2
        assert "all 50 images are equal" in ended.err or "scores are constant" in ended.err
    assert initpools("select-pool", "random", "--budget", "5", "--embeddings", "all-equal.npy").code == 0


def test_the_distinct_rows_come_before_their_copies(initpools, cases):
    options = ("--embeddings", "five-copied.npy", "--json")
    ended = initpools("select-pool", "typiclust", "--budget", "5", "--embeddings", "five-copied.npy")
    assert {int(line) for line in ended.out.split()} == {0, 40, 70, 90, 98}
    assert "95 of 100 images have exactly the embedding of another one" in ended.err
    ranked = [int(line) for line in initpools("rank", "typiclust", *options[:2]).out.split()]
    assert set(ranked[:5]) == {0, 40, 70, 90, 98}
    assert set(ranked[5:10]) == {1, 41, 71, 91, 99}
    assert sorted(ranked) == list(range(100))
    every = initpools("select-pool", "typiclust", "--budget", "5", *options[:2], "--set", "select.copies=any")
    assert len({int(line) for line in every.out.split()} & {0, 40, 70, 90, 98}) < 5


def test_excluded_images_are_not_seen_by_commands_on_files(initpools, cases):
    options = ("--embeddings", "zero-rows.npy", "--exclude", "excluded.npy")
    for strategy in ("kcenter", "typicality", "random"):
        ranked = initpools("rank", strategy, *options)
        assert sorted(int(line) for line in ranked.out.split()) == [0, 1, 2, 3, 4]
        assert "zero" not in ranked.err.partition("next:")[0]
    ended = initpools("select-pool", "kcenter", "--budget", "6", *options)
    assert ended.code == 2
    assert "--budget 6 is more than the 5 unlabeled images." in ended.err
    Path("excluded.csv").write_text("index\n" + "".join(f"{i}\n" for i in range(300)))
    ended = initpools("rank", "kcenter", "--embeddings", "zero-rows.npy", "--exclude", "excluded.csv")
    assert ended.code == 2
    assert "All images are excluded" in ended.err


def test_fewer_images_than_asked_for_are_told_and_a_ranking_goes_on(initpools, cases):
    options = ("--embeddings", "five-copied.npy", "--set", "select.min_distance=0.01")
    ended = initpools("select-pool", "kcenter", "--budget", "20", *options)
    assert ended.code == 0
    assert len(ended.out.split()) == 5
    assert "5 images are chosen, of 20 asked for" in ended.err
    ranked = initpools("rank", "kcenter", *options)
    assert sorted(int(line) for line in ranked.out.split()) == list(range(100))
    assert "the others come after them" in ranked.err


# ---- commands in a run


@pytest.fixture
def run(initpools, tmp_path, monkeypatch) -> Path:
    """A run on 120 images of three kinds, of which one is there twice and two are black."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    kinds = np.arange(160) % 3
    images = rng.integers(0, 99, (160, 8, 8), dtype=np.uint8) + 50 * kinds[:, None, None].astype(np.uint8)
    images[7] = images[30]
    images[[11, 12]] = 0
    train = {"train_images": images[:120], "train_labels": kinds[:120]}
    np.savez("toy.npz", **train, test_images=images[120:], test_labels=kinds[120:])
    np.save("excluded.npy", np.arange(40, 120))
    assert initpools("embed", "pixels", "--dataset", "toy.npz").code == 0
    return tmp_path / "runs" / "toy"


def table_of(folder):
    return tomli.loads((folder / "step.toml").read_text())


def test_a_run_keeps_what_there_is_of_zero_rows_copies_and_exclusions(initpools, run):
    ended = initpools("select-pool", "kcenter", "--budget", "119", "--json")
    stored = table_of(run / "pool" / "kcenter-b119-s0")
    assert (stored["table"]["zero_rows"], stored["table"]["copied_rows"]) == (2, 1)
    assert "copies" not in stored["table"]
    assert "min_distance" not in stored["table"]
    picks = np.load(run / "pool" / "kcenter-b119-s0" / "indices.npy")
    assert picks[-1] == 11
    assert picks[-2] == 30
    represents = np.load(run / "pool" / "kcenter-b119-s0" / "represents.npy")
    assert represents[[11, 12]].tolist() == [-1, -1]
    assert "distances of 2 images whose embeddings are zero" in ended.out
    out = initpools("select-pool", "typicality", "--budget", "5", "--exclude", "excluded.npy")
    assert out.code == 0
    seen = table_of(run / "pool" / "typicality-b5-s0")
    assert str(Path("excluded.npy").resolve()) in seen["reads"]
    direct = select(np.load(run / "embed" / "pixels" / "train.npy")[:11], "typicality", 2)
    assert len(direct) == 2
    chosen = np.load(run / "pool" / "typicality-b5-s0" / "indices.npy")
    assert (chosen < 40).all()
    with pytest.warns(UserWarning):
        python = select(np.load(run / "embed" / "pixels" / "train.npy"), "typicality", 5, exclude=np.arange(40, 120))
    assert chosen.tolist() == python.tolist()
    ranked = initpools("rank", "typicality", "--exclude", "excluded.npy")
    order = np.load(run / "rank" / "typicality" / "sorted_idx.npy")
    assert sorted(order) == list(range(40))
    assert order[-3:].tolist() == [30, 11, 12]
    assert ranked.err.count("are zero") == 1


def test_a_sweep_excludes_images_and_leaves_zero_rows_and_copies_for_last(initpools, run):
    sweep = ["--init", "random,kcenter,typicality", "--query", "kcenter,typicality", "--budget", "9", "--rounds", "2"]
    ended = initpools("al-run", *sweep, "--seeds", "1", "--exclude", "excluded.npy", "--set", "al.candidates=1.0")
    assert ended.code == 0, ended.err
    assert ended.err.count("are zero") == 1
    with np.load(run / "al" / "main" / "picks.npz") as stored:
        for name in stored.files:
            picks = stored[name]
            assert len(set(picks.tolist())) == 27
            assert (picks < 40).all()
            if not name.startswith("random"):
                assert not np.isin(picks, [11, 12, 30]).any()
    table = table_of(run / "al" / "main")["table"]
    assert (table["zero_rows"], table["copied_rows"]) == (2, 1)
    short = initpools("al-run", *sweep, "--seeds", "1", "--set", "min_distance=5.0", "--name", "short")
    assert short.code == 2
    assert "fewer than the budget of 9" in short.err or "closer than min_distance" in short.err


def test_a_round_of_labeling_excludes_images(initpools, run):
    Path("labels.csv").write_text("index,label\n" + "".join(f"{i},{i % 3}\n" for i in [0, 1, 2, 3, 4, 5, 50, 51]))
    ended = initpools(
        "al-run", "--labels", "labels.csv", "--next", "next.npy", "--query", "kcenter", "--budget", "10",
        "--exclude", "excluded.npy",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    chosen = np.load("next.npy")
    assert len(chosen) == 10
    assert (chosen < 40).all()
    assert not np.isin(chosen, [*range(6), 11, 12, 30]).any()
    assert table_of(run / "loop" / "round-1")["outcome"]["labeled"] == 6
