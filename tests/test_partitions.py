"""Selection in two rounds, from random partitions and then from their picks, against its plain definition."""

from __future__ import annotations

import contextvars

import cloudpickle
import numpy as np
import pytest
from conftest import Initpools
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from plain import crowds, go_on, pairwise
from threadpoolctl import threadpool_limits

import initpools_cli
from initpools_cli.core.errors import UserError
from initpools_cli.core.seeds import generator
from initpools_cli.geometry.rows import Rows, on_executor
from initpools_cli.strategies import embeddings, runtime
from initpools_cli.strategies.call import StrategyCall
from initpools_cli.strategies.partitions import random_partitions, select_in_rounds
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.select import choose
from initpools_cli.testing import check_picks, cloud

NAMES = [method.name for method in strategies if method.traits.partitions]
KNOBS = {
    "facility-location": {"similarity": "rbf"},
    "graph-cut": {"similarity": "rbf", "lam": 0.3},
    "probcover": {"delta": 1.5},
}


def plain_cover(values, weights, candidates, labeled, budget):
    """The sum of the weighted largest values of picks, greedily; ties within a millionth to the lower row."""
    held, picks, free = values[labeled].max(axis=0, initial=0), [], candidates.copy()
    free[labeled] = False
    while len(picks) < budget:
        gains = np.where(free, np.maximum(values - held, 0) @ weights, -np.inf)
        if gains.max() <= 1e-6:
            break
        picks.append(int(np.flatnonzero(gains >= gains.max() - 1e-6)[0]))
        held, free[picks[-1]] = np.maximum(held, values[picks[-1]]), False
    return picks


def plain_graph_cut(values, weights, candidates, labeled, budget):
    gains = 0.3 * values @ weights - 2 * values[labeled].sum(axis=0) - 1
    gains[~candidates] = gains[labeled] = -np.inf
    picks = []
    while len(picks) < budget:
        picks.append(int(np.flatnonzero(gains >= gains.max() - 1e-6)[0]))
        gains -= 2 * values[picks[-1]]
        gains[picks[-1]] = -np.inf
    return picks


def values_of(name, points):
    squared = pairwise(points)
    return (squared < 1.5**2) * 1.0 if name == "probcover" else np.exp(-squared)


def plain_picks(name, points, weights, candidates, labeled, budget):
    greedy = plain_graph_cut if name == "graph-cut" else plain_cover
    picks = greedy(values_of(name, points), weights, candidates, labeled, budget)
    seen = np.union1d(np.flatnonzero(candidates), labeled).astype(int)
    place = {row: at for at, row in enumerate(seen.tolist())}
    filled = go_on(points[seen], [place[row] for row in labeled], [place[row] for row in picks], budget)
    return [int(seen[at]) for at in filled]


def plain_rounds(name, points, labeled, budget, partitions, measured, seed):
    """Pick from each partition with the labeled rows, and from all of these picks by a sample of all rows."""
    n, union = len(points), []
    for part in random_partitions(np.setdiff1d(np.arange(n), labeled), partitions, seed):
        rows = np.union1d(part, labeled).astype(int)
        known = np.searchsorted(rows, labeled).tolist()
        everything = np.ones(len(rows))
        union += rows[plain_picks(name, points[rows], everything, everything > 0, known, budget)].tolist()
    drawn = np.arange(n)
    if measured < n:
        drawn = generator(seed, "partitions", "sample").choice(n, measured, replace=False)
    rows = np.unique([*union, *labeled, *drawn]).astype(int)
    weights = np.isin(rows, drawn) * n / len(drawn)
    known = np.searchsorted(rows, labeled).tolist()
    return rows[plain_picks(name, points[rows], weights, np.isin(rows, union), known, budget)].tolist()


@settings(max_examples=40, deadline=None)
@given(
    crowds(),
    st.sampled_from(["facility-location", "maxherding", "uherding", "probcover", "graph-cut"]),
    st.integers(2, 4),
    st.sampled_from([1.0, 0.6, 0.2]),
)
def test_two_rounds_equal_their_plain_definition(case, name, partitions, share):
    points, labeled, budget = case
    budget = min(budget, (len(points) - len(labeled)) // partitions)
    assume(budget)
    method = strategies.get(name)
    call = StrategyCall(method, {"embeddings": points}, method.validate(KNOBS.get(name, {})), 3)
    measured = max(1, int(share * len(points)))
    selection = select_in_rounds(call, np.arange(len(points)), np.array(labeled, int), budget, partitions, measured)
    assert selection.indices.tolist() == plain_rounds(name, points, labeled, budget, partitions, measured, 3)


@pytest.mark.parametrize("name", ["log-det", "disparity"])
def test_an_objective_of_the_picks_alone_is_measured_on_the_union(name):
    points, labeled, rows = cloud(90), np.array([4, 50]), np.arange(90)
    method = strategies.get(name)
    call = StrategyCall(method, {"embeddings": points}, method.validate({}), 0)
    selection = select_in_rounds(call, rows, labeled, 6, 3, 90)
    parts = random_partitions(np.setdiff1d(rows, labeled), 3, 0)
    union = np.concatenate([call.on(np.union1d(part, labeled), labeled, 6).indices for part in parts])
    again = call.on(np.union1d(union, labeled), labeled, 6)
    assert selection.indices.tolist() == again.indices.tolist()
    np.testing.assert_array_equal(selection.scores, again.scores)


def test_partitions_are_even_and_have_every_row_once():
    rows = np.arange(5, 105)
    parts = random_partitions(rows, 7, 1)
    assert sorted(np.concatenate(parts)) == rows.tolist()
    assert {len(part) for part in parts} == {14, 15}
    assert any((np.diff(part) > 1).any() for part in parts)
    assert [part.tolist() for part in random_partitions(rows, 7, 2)] != [part.tolist() for part in parts]


@pytest.mark.parametrize("name", NAMES)
def test_picks_are_distinct_unlabeled_and_the_same_for_any_number_of_threads(name):
    selections = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            options = {"labeled": [5, 6], "exclude": np.arange(100, 150), "seed": 2, "partitions": 4}
            selections.append(choose(name, {"embeddings": cloud(600, 8)}, 20, **options))
    check_picks(selections[0], 600, [5, 6, *range(100, 150)], 20)
    np.testing.assert_array_equal(selections[0].indices, selections[1].indices)
    assert selections[0].scores.tobytes() == selections[1].scores.tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_one_partition_is_a_selection_from_all_images(name):
    whole = choose(name, {"embeddings": cloud(80)}, 9, labeled=[3])
    one = choose(name, {"embeddings": cloud(80)}, 9, labeled=[3], partitions=1)
    np.testing.assert_array_equal(whole.indices, one.indices)
    assert whole.scores.tobytes() == one.scores.tobytes()


class OtherProcess:
    """Calls functions as a cluster does: with what was pickled, and outside of the context."""

    def __init__(self):
        self.sent = []

    def map(self, function, jobs):
        sent = [cloudpickle.dumps((function, tuple(job))) for job in jobs]
        self.sent += [(getattr(function, "__name__", ""), len(each)) for each in sent]
        return [contextvars.Context().run(self.call, each) for each in sent]

    @staticmethod
    def call(sent):
        function, job = cloudpickle.loads(sent)
        return function(*job)


@pytest.mark.parametrize("name", NAMES)
def test_partitions_of_a_file_are_read_once_each_and_in_other_processes(name, tmp_path, monkeypatch):
    points = cloud(400, 8).astype(np.float16)
    points[7], points[9] = points[3], 0
    np.save(tmp_path / "points.npy", points)
    stored = np.load(tmp_path / "points.npy", mmap_mode="r")
    expected = choose(name, {"embeddings": points}, 11, labeled=[1], partitions=3)
    with on_executor(executor := OtherProcess()):
        elsewhere = choose(name, {"embeddings": stored}, 11, labeled=[1], partitions=3)
    np.testing.assert_array_equal(elsewhere.indices, expected.indices)
    sizes = [size for function, size in executor.sent if function == "_first_round"]
    assert len(sizes) == 3 and max(sizes) < 10_000
    monkeypatch.setattr(embeddings, "LARGE", 0)
    read, reads = Rows.read, []
    monkeypatch.setattr(Rows, "read", lambda rows: reads.append(rows.rows) or read(rows))
    mapped = choose(name, {"embeddings": stored}, 11, labeled=[1], partitions=3)
    np.testing.assert_array_equal(mapped.indices, expected.indices)
    # All but a copy and a zero row; the labeled one is in every partition.
    assert len(reads) == 4 and sorted(np.concatenate(reads[:3]).tolist()) == sorted(
        [1, 1, *np.delete(range(400), [7, 9])]
    )


def test_two_rounds_keep_most_of_the_objective(monkeypatch):
    monkeypatch.setattr("initpools_cli.strategies.select.MEASURED", 140)
    rng = np.random.default_rng(0)
    points = rng.normal(size=(25, 16))[rng.integers(0, 25, 1500)] + 0.4 * rng.normal(size=(1500, 16))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    similar = (1 + points @ points.T) / 2

    def value(picks):
        return similar[picks].max(axis=0).sum()

    inputs = {"embeddings": points.astype(np.float32)}
    whole, divided = (choose("facility-location", inputs, 20, partitions=count) for count in (1, 15))
    random = np.mean([value(rng.choice(1500, 20, replace=False)) for _ in range(20)])
    assert value(divided.indices) > random + 0.9 * (value(whole.indices) - random)
    # The scores are estimates of the gains over all images.
    assert divided.scores.sum() == pytest.approx(value(divided.indices), rel=0.02)


def test_the_estimate_of_the_runtime_is_that_of_both_rounds(monkeypatch):
    monkeypatch.setattr(runtime, "speed", lambda: 1e11)
    maxherding = strategies.get("maxherding")
    message = runtime.expectation("maxherding", maxherding, 10**6, 512, 100, maxherding.validate({}), 0, 10)
    # 10 · 8 · 10¹⁰ · 512 for the first round, and 8 · 20,000 · 21,000 · 512 for the second, at 10¹¹ a second.
    assert "maxherding will take about 69 min for 1,000,000 images of 512 dimensions in 10 partitions." in message
    offered = runtime.expectation("maxherding", maxherding, 10**6, 512, 100, maxherding.validate({}), 0, 1)
    # 4.8 · 10⁹ pairs; 1,024 partitions have 3.4 · 10⁹ and 64 have 1.6 · 10¹⁰.
    assert "With --partitions 256 it selects from random partitions and then from their picks, in about" in offered
    assert "--partitions" not in str(runtime.expectation("kmeans", strategies.get("kmeans"), 10**8, 512, 99, {}, 0, 1))
    assert "--partitions" not in runtime.expectation("maxherding", maxherding, 10**6, 512, 100, {}, 0)


@pytest.mark.parametrize(
    ("name", "budget", "options", "fact", "remedy"),
    [
        ("kmeans", 5, {"partitions": 2}, "partitions=2 is not possible with 'kmeans'", "facility-location, graph-cut"),
        ("maxherding", 21, {"partitions": 3}, "partitions=3 leaves 20 of 60 images", "Use --partitions 2 or fewer"),
        ("maxherding", 31, {"partitions": 2}, "fewer than the budget of 31", "Leave out --partitions"),
        ("maxherding", 5, {"partitions": 0}, "partitions=0 is less than 1", "Use 1"),
        ("maxherding", 5, {"partitions": 2, "balance": "kmeans"}, "with balance=kmeans", "Leave out one"),
        ("maxherding", 5, {"partitions": 2, "min_distance": 0.1}, "with min_distance=0.1", "Leave out one"),
    ],
)
def test_partitions_that_do_not_work_are_refused(name, budget, options, fact, remedy):
    with pytest.raises(UserError, match=fact) as error:
        choose(name, {"embeddings": cloud(60)}, budget, **options)
    assert remedy in error.value.remedy


def test_the_command_selects_in_partitions(tmp_path, monkeypatch, initpools: Initpools) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("points.npy", cloud(200))
    words = ["--embeddings", "points.npy", "--budget", 9]
    made = ["--partitions", 4, "--compare", "kcenter,maxherding", "--random-pools", 20, "-o", "a.npy"]
    assert initpools("select-pool", "facility-location", *words, *made).code == 0
    np.testing.assert_array_equal(
        np.load("a.npy"), initpools_cli.select(cloud(200), "facility-location", 9, partitions=4)
    )
    small = initpools("select-pool", "facility-location", *words, "--partitions", 40)
    assert small.code == 2 and "partitions=40 leaves 5 of 200 images" in small.err
    other = initpools("select-pool", "kcenter", *words, "--partitions", 4)
    assert other.code == 2 and "partitions=4 is not possible with 'kcenter'" in other.err
    rank = initpools("rank", "maxherding", "--embeddings", "points.npy", "--set", "select.partitions=2")
    assert rank.code == 2 and "select.partitions (in --set) has no effect here" in rank.err
    cluster = initpools("select-pool", "maxherding", *words, "--backend", "dask")
    assert cluster.code == 2 and "add --partitions N" in cluster.err
