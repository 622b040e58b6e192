"""Figures that compare: what is drawn is a plain computation, what can't be said is said, bad names stay text."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import Initpools
from hypothesis import given, settings
from hypothesis import strategies as st
from plotly.graph_objects import Figure
from scipy import stats

from initpools_cli.core import profiling
from initpools_cli.core.errors import UserError
from initpools_cli.core.reporter import Reporter
from initpools_cli.core.rundir import Run
from initpools_cli.figures.escape import percent
from initpools_cli.figures.plots.correlation import correlations
from initpools_cli.figures.plots.cost import cost
from initpools_cli.figures.plots.critical_difference import cliques, critical_difference
from initpools_cli.figures.plots.overlap import by_similarity, overlap
from initpools_cli.figures.plots.strategies import strategies
from initpools_cli.reporting.plot_data.correlation import mean_score_and_later
from initpools_cli.stats.correlation import start_and_later
from initpools_cli.stats.friedman import nemenyi
from initpools_cli.stats.scaling import exponent
from initpools_cli.steps.runtime_benchmark import COLUMNS, doublings, measure
from initpools_cli.sweeps.results import rounds_of

HOSTILE = "</script><script>alert('x')</script><img src=x> & %{meta} <b>bold</b>"


def sweep(
    inits: Sequence[str] = ("random", "a", "b", "c"),
    seeds: int = 6,
    rounds: int = 2,
    budget: int = 10,
    gains: Mapping[str, float] | None = None,
    root: int = 0,
) -> pd.DataFrame:
    """Rows of a ``rounds.csv``: curves that rise by a tenth a round, with noise and a gain for some first pools."""
    rng = np.random.default_rng(root)
    cells = [
        (init, query, seed, at)
        for init, seed, query in itertools.product(inits, range(seeds), ("", "margin", "random"))
        for at in ([0] if not query else range(1, rounds + 1))
    ]
    table = pd.DataFrame(cells, columns=["init", "query", "seed", "round"])
    heights = 0.3 + 0.1 * table["round"] + table["init"].map(gains or {}).fillna(0.0)
    return table.assign(
        learner="linear",
        encoder="simclr",
        labeled=budget * (1 + table["round"]),
        accuracy=heights + 0.05 * rng.normal(size=len(table)),
        status="ok",
        sweep=f"linear-{budget}",
    )


def pairs_of(table: pd.DataFrame) -> pd.DataFrame:
    return start_and_later(table).assign(sweep="main")


def traces(figure: Figure, name: str, mode: str = "markers") -> list[Any]:
    return [trace for trace in figure.data if trace.name == name and trace.mode == mode]


def words(figure: Figure) -> str:
    return "\n".join(figure.layout.meta["description"])


def headings(figure: Figure) -> list[str]:
    return [note.text for note in figure.layout.annotations]


# ---- correlation


def test_the_dots_are_the_cells_and_the_marks_their_means() -> None:
    table = sweep()
    figure = correlations(pairs_of(table))
    assert len(headings(figure)) == 2 and "query margin · 30 labels" in headings(figure)[0]
    start = table[(table["init"] == "a") & (table["round"] == 0)].set_index("seed")["accuracy"]
    lines = traces(figure, "a")
    for query, dots, mark in zip(("margin", "random"), lines[::2], lines[1::2], strict=True):
        last = table[(table["init"] == "a") & (table["query"] == query) & (table["round"] == 2)].set_index("seed")
        np.testing.assert_allclose(dots.x, start[dots.customdata])
        np.testing.assert_allclose(dots.y, last["accuracy"][dots.customdata])
        assert (mark.x[0], mark.y[0]) == pytest.approx((np.mean(dots.x), np.mean(dots.y)))


def test_coefficients_and_lines_are_those_of_scipy() -> None:
    figure = correlations(pairs_of(sweep(seeds=9)))
    random = traces(figure, "random")[0]
    theirs = stats.pearsonr(random.x, random.y)
    fitted = stats.linregress(random.x, random.y)
    assert f"random pools: r {theirs.statistic:.2f} (" in headings(figure)[0]
    line = traces(figure, "line of the random pools", "lines")[0]
    np.testing.assert_allclose(line.y, fitted.intercept + fitted.slope * np.array(line.x))
    means = [traces(figure, name)[1] for name in ("random", "a", "b", "c")]
    between = stats.pearsonr([mark.x[0] for mark in means], [mark.y[0] for mark in means])
    assert f"means: r {between.statistic:.2f} (" in headings(figure)[0]
    spearman = stats.spearmanr(random.x, random.y).statistic
    assert f"9 random pools, Pearson r = {theirs.statistic:.2f}" in words(figure)
    assert f"Spearman {spearman:.2f}" in words(figure)


def test_every_budget_is_in_the_words_and_drawn_where_asked() -> None:
    pairs = pairs_of(sweep(rounds=3))
    assert [labels in words(correlations(pairs)) for labels in ("20 labels", "30 labels", "40 labels")] == [True] * 3
    assert len(headings(correlations(pairs, at="every"))) == 6
    assert len(headings(correlations(pairs))) == 2


def test_too_few_pools_have_no_coefficient_and_no_line() -> None:
    figure = correlations(pairs_of(sweep(("random", "a"), seeds=2)))
    assert "means: no r: 2 are too few" in headings(figure)[0]
    assert not [trace for trace in figure.data if trace.mode == "lines"]
    with pytest.raises(UserError, match="later round"):
        correlations(pairs_of(sweep(rounds=0)))


# ---- strategies


def test_marks_are_means_and_deviations_and_the_cloud_is_every_random_pool() -> None:
    tables = [sweep(budget=budget, root=budget) for budget in (10, 100)]
    figure = strategies(pd.concat(tables, ignore_index=True))
    first = [table[table["round"] == 0] for table in tables]
    mark = traces(figure, "a")[0]
    expected = [rows.loc[rows["init"] == "a", "accuracy"] for rows in first]
    np.testing.assert_allclose(mark.y, [values.mean() for values in expected])
    np.testing.assert_allclose(mark.error_y.array, [values.std(ddof=1) for values in expected])
    for cloud, rows, budget in zip(traces(figure, "random pools"), first, (10, 100), strict=True):
        random = rows.loc[rows["init"] == "random", "accuracy"]
        assert sorted(cloud.y) == pytest.approx(sorted(random))
        # What belongs to one budget stays nearer to it than to the other.
        assert np.all(np.abs(np.log10(cloud.x) - math.log10(budget)) < 0.5)
        share = (random < rows.loc[rows["init"] == "a", "accuracy"].mean()).mean()
        text = traces(figure, "a")[0].customdata[(10, 100).index(budget)][0]
        assert text.endswith(f"above {percent(share)} of the random pools")
    assert "10 labels: " in words(figure) and "100 labels: " in words(figure)


def test_panels_of_learners_have_one_range_and_share_one_axis_only() -> None:
    table = sweep()
    layout = strategies(pd.concat([table, table.assign(learner="mlp")], ignore_index=True)).layout
    assert layout.xaxis.range == layout.xaxis2.range and layout.xaxis2.matches is None and layout.yaxis2.matches == "y"


def test_random_pools_that_two_sweeps_share_are_drawn_once() -> None:
    table = sweep()
    figure = strategies(pd.concat([table, table.assign(sweep="again")], ignore_index=True))
    assert len(traces(figure, "random pools")[0].x) == 6


def test_rounds_after_a_query_are_drawn_where_it_is_named() -> None:
    table = sweep()
    figure = strategies(table, query="margin")
    rows = table[(table["init"] == "a") & (table["query"] == "margin") & (table["round"] == 2)]
    assert traces(figure, "a")[0].y[-1] == pytest.approx(rows["accuracy"].mean())
    random = table[(table["init"] == "random") & (table["query"] == "random") & (table["round"] == 2)]
    assert sorted(traces(figure, "random pools")[2].y) == pytest.approx(sorted(random["accuracy"]))
    with pytest.raises(UserError, match=r"'badge'.*margin, random"):
        strategies(table, query="badge")


def test_strategies_without_random_pools_say_so_and_one_seed_has_no_bar() -> None:
    figure = strategies(sweep(("a", "b"), seeds=1))
    assert "No sweep has random pools" in figure.layout.title.subtitle.text
    assert math.isnan(traces(figure, "a")[0].error_y.array[0])
    with pytest.raises(UserError, match="'accuracy'"):
        strategies(sweep().assign(status="failed"))


# ---- overlap


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sets(st.integers(0, 30), min_size=1), min_size=2, max_size=6), st.sampled_from(["jaccard", "share"]))
def test_cells_are_counted_and_chance_is_their_expectation(pools: list[set[int]], measure: str) -> None:
    figure = overlap({str(i): sorted(pool) for i, pool in enumerate(pools)}, 31, measure=measure)
    heat = figure.data[0]
    order = [int(text.split()[0]) for text in figure.layout.yaxis.ticktext]
    assert sorted(order) == list(range(len(pools)))
    for row, column in itertools.permutations(range(len(pools)), 2):
        a, b = pools[order[row]], pools[order[column]]
        both = len(a & b)
        whole = {"jaccard": len(a | b), "share": min(len(a), len(b))}[measure]
        by_chance = len(a) * len(b) / 31
        chance = by_chance / {"jaccard": len(a) + len(b) - by_chance, "share": min(len(a), len(b))}[measure]
        assert heat.z[row][column] == pytest.approx(both / whole)
        assert f"{both} in common, of {len(a)} and {len(b)} images" in heat.customdata[row][column]
        assert heat.customdata[row][column].endswith(f"by chance {percent(chance)}")
    assert np.isnan(np.diag(np.array(heat.z, float))).all()


def test_two_random_pools_share_what_is_stated() -> None:
    rng = np.random.default_rng(0)
    shared = [np.isin(rng.choice(500, 50, replace=False), np.arange(50)).sum() for _ in range(300)]
    assert np.mean(shared) == pytest.approx(50 * 50 / 500, rel=0.1)
    figure = overlap({"a": np.arange(50), "b": np.arange(50, 100)}, 500, measure="share")
    assert "share about 10.0 %" in figure.layout.title.subtitle.text


def test_a_phone_has_room_for_the_numbers_of_many_pools() -> None:
    figure = overlap({f"facility-location-b{i}-s0": [i] for i in range(20)}, 100)
    wide, narrow = (figure.layout.meta[name]["yaxis.ticktext"] for name in ("wide", "narrow"))
    assert list(figure.layout.yaxis.ticktext) == list(wide)
    assert all(len(short) < len(whole) for short, whole in zip(narrow, wide, strict=True))


def test_similar_pools_stand_together() -> None:
    similarity = np.array([[1, 0, 0.9, 0], [0, 1, 0, 0.8], [0.9, 0, 1, 0], [0, 0.8, 0, 1]])
    order = by_similarity(similarity)
    assert abs(order.index(0) - order.index(2)) == 1 and abs(order.index(1) - order.index(3)) == 1
    with pytest.raises(UserError, match="needs at least 2 pools, got 1"):
        overlap({"kmeans": [1, 2]}, 10)


# ---- critical difference


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=2, max_size=7), st.integers(1, 12))
def test_cliques_are_the_largest_groups_within_the_difference(ranks: list[int], difference: int) -> None:
    rank_of = {str(i): float(rank) for i, rank in enumerate(ranks)}
    every = [
        set(group)
        for size in range(2, len(ranks) + 1)
        for group in itertools.combinations(rank_of, size)
        if max(rank_of[name] for name in group) - min(rank_of[name] for name in group) <= difference
    ]
    largest = [group for group in every if not any(group < other for other in every)]
    groups = [set(group) for group in cliques(rank_of, difference)]
    assert sorted(map(sorted, groups)) == sorted(map(sorted, largest))


def test_mean_ranks_and_the_difference_are_drawn_to_scale() -> None:
    table = sweep(seeds=12, gains={"a": 0.3, "b": 0.28, "c": -0.2})
    figure = critical_difference({"main": table}, measure="first pool")
    first = table[table["round"] == 0].pivot(index="seed", columns="init", values="accuracy")
    expected = stats.rankdata(-first.to_numpy(), axis=1).mean(0)
    marks = traces(figure, "mean ranks")[0]
    assert dict(zip(marks.customdata, marks.x, strict=True)) == pytest.approx(dict(zip(first, expected, strict=True)))
    ruler = next(trace for trace in figure.data if trace.mode == "lines" and trace.line.width == 2)
    assert ruler.x[1] - ruler.x[0] == pytest.approx(nemenyi(4, 12))
    assert "ranked within each seed of one sweep (main)" in figure.layout.title.subtitle.text
    assert "they differ" in headings(figure)[0] and "over 12 seeds" in words(figure)


def test_bars_join_what_is_within_the_difference_only() -> None:
    table = sweep(("random", "a", "b"), seeds=20, gains={"a": 0.5, "b": 0.5})
    figure = critical_difference({"main": table})
    bars = traces(figure, "bars", "lines")[0]
    marks = traces(figure, "mean ranks")[0]
    best = sorted(marks.x)[:2]
    assert list(bars.x) == pytest.approx([best[0] - 0.06, best[1] + 0.06, None])
    assert "ranks differ by no more than" in words(figure)


def test_data_sets_are_blocks_and_too_few_are_said() -> None:
    gains = {"a": 0.4, "b": 0.2}
    tables = {f"set {i}": sweep(("random", "a", "b"), gains=gains, root=i) for i in range(6)}
    figure = critical_difference(tables)
    assert "Ranked by area over 6 data sets (query " in words(figure) and "first pools differ" in words(figure)
    assert figure.layout.title.text == "First pools ranked by area over 6 data sets"
    few = critical_difference({name: tables[name] for name in list(tables)[:2]})
    assert "2 data sets are too few" in headings(few)[0]
    assert "2 data sets are too few for a significant difference, whatever the ranks" in words(few)
    # Where nothing is found, one bar joins all.
    marks, bar = traces(few, "mean ranks")[0], traces(few, "bars", "lines")[0]
    assert list(bar.x[:2]) == pytest.approx([min(marks.x) - 0.06, max(marks.x) + 0.06])


def test_a_first_pool_that_a_block_lacks_is_named_and_one_alone_is_refused() -> None:
    figure = critical_difference({"x": sweep(("random", "a", "b")), "y": sweep(("random", "a"), root=1)})
    assert "Left out, because they have no value in one of the data sets: b." in words(figure)
    with pytest.raises(UserError, match="No two first pools have a value of"):
        critical_difference({"main": sweep(("random",))})


# ---- cost


def measurements(names: Sequence[str] = ("kcenter", "random"), memory: float = 1e6) -> pd.DataFrame:
    n = np.array([100, 200, 400, 800])
    parts = [
        pd.DataFrame({"strategy": name, "n": n, "seconds": 1e-5 * n ** (1.0 + i), "bytes": memory * n})
        for i, name in enumerate(names)
    ]
    return pd.concat(parts, ignore_index=True).assign(d=8, budget=10, threads=1)[COLUMNS]


@given(st.floats(0.2, 3), st.floats(0.01, 10))
def test_a_power_law_has_its_exponent(power: float, factor: float) -> None:
    n = np.array([100, 200, 400, 800, 1600])
    assert exponent(n, factor * n**power, 0) == pytest.approx(power)
    assert math.isnan(exponent(n, factor * n**power, math.inf))


@given(st.integers(1, 10**7), st.integers(2, 1000))
def test_sizes_double_up_to_all(n: int, fewest: int) -> None:
    sizes = doublings(n, fewest)
    assert sizes[-1] == n and all(a == -(-b // 2) for a, b in itertools.pairwise(sizes))
    assert (len(sizes) == 1 or sizes[0] >= fewest) and -(-sizes[0] // 2) < fewest


def test_costs_are_drawn_as_measured() -> None:
    table = measurements()
    figure = cost(table)
    seconds, memory = (next(t for t in figure.data if t.name == "kcenter, n^1.0" and t.yaxis == y) for y in ("y", "y2"))
    own = table[table["strategy"] == "kcenter"]
    # From 100 to 800 images lies no power of ten but the first.
    assert list(figure.layout.xaxis.tickvals) == sorted(set(table["n"]))
    assert list(seconds.x) == own["n"].tolist() and list(seconds.y) == own["seconds"].tolist()
    assert list(memory.y) == pytest.approx((own["bytes"] / 1e6).tolist())
    assert "random among 800 images: 6.4 s (growing as n^2.00)" in words(figure)
    without = cost(measurements(memory=math.nan))
    assert len(headings(without)) == 1 and "on Linux only" in without.layout.title.subtitle.text
    with pytest.raises(UserError, match="No strategy"):
        cost(table.iloc[:0])


def test_sizes_grow_until_a_strategy_takes_too_long() -> None:
    embeddings = np.random.default_rng(0).normal(size=(420, 4)).astype(np.float32)
    quiet = Reporter(quiet=True)
    all_sizes = measure(embeddings, ["random", "kcenter"], 5, 60, 0, quiet)
    assert all_sizes[["strategy", "n"]].to_numpy().tolist() == [
        [name, n] for name in ("random", "kcenter") for n in (105, 210, 420)
    ]
    assert (all_sizes["seconds"] > 0).all() and list(all_sizes.columns) == COLUMNS
    assert measure(embeddings, ["kcenter"], 5, 1e-9, 0, quiet)["n"].tolist() == [105]
    with pytest.raises(UserError, match="needs probs") as refused:
        measure(embeddings, ["kcenter", "margin"], 5, 1, 0, quiet)
    # `plot` has no --probs.
    assert "--probs" not in refused.value.remedy


def test_memory_at_the_peak_is_seen_though_it_is_given_back() -> None:
    _, peak = profiling.measure(lambda: np.ones(2**23).sum())
    assert math.isnan(peak) or peak == pytest.approx(2**26, rel=0.2)


# ---- all of them


def test_hostile_names_stay_text() -> None:
    table = sweep(("random", HOSTILE, "b", "c"))
    figures = [
        correlations(pairs_of(table), of=HOSTILE),
        strategies(table),
        overlap({HOSTILE: [1], "b": [2]}, 5),
        critical_difference({HOSTILE: table}),
        cost(measurements((HOSTILE, "b"))),
    ]
    for figure in figures:
        assert "<script" in words(figure) or "&lt;script" in figure.to_json()
        figure.layout.meta = None
        text = json.dumps(figure.to_plotly_json(), default=str)
        assert "<script" not in text and "<img" not in text and "%{meta}" not in text


def test_the_commands_draw_them_from_a_run(copied_run: Path, initpools: Initpools) -> None:
    run = Run(copied_run / "runs/digits")
    for name in ("random", "kcenter"):
        assert initpools("select-pool", name, "--budget", 20).code == 0
    alone = initpools("plot", "correlation")
    assert alone.code == 2 and "initpools al-run" in alone.err
    swept = ["--init", "random,kcenter", "--query", "random", "--budget", 5, "--rounds", 1, "--seeds", 4]
    assert initpools("al-run", *swept).code == 0
    step = run.find_step("al/main")
    assert step is not None
    options_of = {
        "correlation": ["--set", "of=typicality"],
        "strategies": [],
        "overlap": [],
        "critical-difference": [],
        "cost": ["--name", "kcenter", "--set", "seconds=0.01"],
    }
    for kind, more in options_of.items():
        ended = initpools("plot", kind, *more)
        assert ended.code == 0, ended.err
    measured = pd.read_csv(run.path / "plot/cost.csv")
    assert list(measured.columns) == COLUMNS and set(measured["strategy"]) == {"kcenter"}

    score_step = run.find_step("score/typicality")
    assert score_step is not None
    scores, rounds = score_step.array("scores.npy"), rounds_of(step)
    pairs = mean_score_and_later(step, rounds, scores, "accuracy")
    with np.load(step.folder / "picks.npz") as picks:
        for row in pairs.itertuples():
            first = picks[f"{row.init}|random|linear|simclr|{row.seed}"][:5]
            assert row.start == pytest.approx(scores[first].mean())
    assert len(pairs) == 16 and pairs["later"].tolist() == rounds["accuracy"].tolist()

    twice = initpools("plot", "critical-difference", "--name", "main", "--name", "al/main")
    assert twice.code == 2 and "use the same data set" in twice.err
    unknown = initpools("plot", "overlap", "--name", "kmeans")
    assert unknown.code == 2 and "pool/random-b20-s0" in unknown.err
    np.save("embeddings.npy", np.random.default_rng(0).normal(size=(210, 3)))
    assert initpools("plot", "cost", "--embeddings", "embeddings.npy", "--set", "strategies=random").code == 0
    assert Path("cost.csv").exists() and Path("cost.html").exists()
