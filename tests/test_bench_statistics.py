"""Statistics of the table of a suite, against plain definitions."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from initpools_cli.stats import benchmark
from initpools_cli.stats.paired import holm, paired

ORIGIN = {"a": "photos", "b": "photos", "c": "scans"}


def random_table(
    rng: np.random.Generator, names: list[str], data: str = "abc", seeds: int = 6, lost: float = 0.1
) -> pd.DataFrame:
    """Rows of a table with made-up accuracies, of which some cells failed."""
    rows = []
    for where, encoder, budget, name, seed in itertools.product(data, ("x", "y"), (10, 20), names, range(seeds)):
        rows.append({
            "data": where, "origin": ORIGIN[where], "encoder": encoder, "learner": "linear", "budget": budget,
            "candidates": 0.5, "query": "", "labeled": budget, "strategy": name, "variant": "", "added": name == "mine",
            "seed": seed, "round": 0, "sweep": f"{name}-{encoder}-{budget}", "pool_seconds": float(rng.random()),
            "accuracy": float(rng.random()), "status": "ok" if name == "random" or rng.random() > lost else "failed",
        })  # fmt: skip
    return pd.DataFrame(rows)


@settings(max_examples=4)
@given(st.integers(0, 2**32), st.sampled_from(["abc", "ab", "c"]))
def test_standings_are_the_plain_means(seed: int, data: str) -> None:
    rng = np.random.default_rng(seed)
    table = random_table(rng, ["random", "mine", "other"], data)
    cells = benchmark.values(table)
    rows = {row.strategy: row for row in benchmark.standings(cells)}
    assert rows["random"].difference == 0
    good = [row for row in table.to_dict("records") if row["status"] == "ok"]
    value = {(r["data"], r["encoder"], r["budget"], r["strategy"], r["seed"]): r["accuracy"] for r in good}
    places = list(itertools.product(data, ("x", "y"), (10, 20)))
    for name in ("mine", "other"):
        gains: dict[str, list[float]] = {}
        shortfalls: dict[str, list[float]] = {}
        by_seed: dict[int, list[float]] = {}
        for where, encoder, budget in places:
            own = {
                s: value[where, encoder, budget, name, s]
                for s in range(6)
                if (where, encoder, budget, name, s) in value
            }
            if not own:
                continue
            differences = {s: each - value[where, encoder, budget, "random", s] for s, each in own.items()}
            gains.setdefault(ORIGIN[where], []).append(np.mean(list(differences.values())))
            for s, each in differences.items():
                by_seed.setdefault(s, []).append(each)
            means = [
                np.mean(each)
                for other in ("random", "mine", "other")
                if (each := [value[key] for s in range(6) if (key := (where, encoder, budget, other, s)) in value])
            ]
            shortfalls.setdefault(ORIGIN[where], []).append(max(means) - np.mean(list(own.values())))
        by_origin = [np.mean(each) for each in gains.values()]
        assert rows[name].difference == pytest.approx(np.mean(by_origin))
        assert rows[name].regret == pytest.approx(np.mean([np.mean(each) for each in shortfalls.values()]))
        over = by_origin if len(by_origin) > 1 else [np.mean(each) for each in by_seed.values()]
        half = stats.t.ppf(0.975, len(over) - 1) * np.std(over, ddof=1) / np.sqrt(len(over))
        assert rows[name].low == pytest.approx(np.mean(over) - half)
        assert rows[name].high == pytest.approx(np.mean(over) + half)


def test_wins_are_counted_after_correction_within_a_strategy() -> None:
    table = random_table(np.random.default_rng(0), ["random", "mine", "other"], lost=0.0, seeds=12)
    # Neither better nor worse: half of the seeds win, and half lose by as much.
    same = table[table["strategy"] == "random"]["accuracy"].to_numpy() + np.tile([0.1, -0.1], 72)
    table.loc[table["strategy"] == "mine", "accuracy"] = same
    table.loc[(table["strategy"] == "mine") & (table["budget"] == 10), "accuracy"] += 1
    table.loc[(table["strategy"] == "mine") & (table["data"] == "c") & (table["budget"] == 20), "accuracy"] -= 1
    cells = benchmark.values(table)
    rows = benchmark.comparisons(cells)
    for name in ("mine", "other"):
        own = [row for row in rows if row.strategy == name]
        p = []
        for row in own:
            both = cells[
                (cells["data"] == row.data) & (cells["encoder"] == row.encoder) & (cells["budget"] == row.budget)
            ]
            first, second = (both[both["strategy"] == each].sort_values("seed")["value"] for each in (name, "random"))
            p.append(paired(first, second).p)
        np.testing.assert_allclose([row.p_holm for row in own], holm(p))
        assert {row.family for row in own} == {len(own)} == {12}
    mine = {row.strategy: row for row in benchmark.standings(cells)}["mine"]
    assert (mine.better, mine.worse, mine.comparisons) == (6, 2, 12)
    assert benchmark.sentence(rows, "mine") == (
        "mine: better than random in 6 of 12 comparisons after correction, worse in 2"
    )
    ten = {row.strategy: row for row in benchmark.standings(cells, budget=10)}["mine"]
    assert (ten.better, ten.unclear, ten.worse) == (6, 0, 0)
    alone = {row.strategy: row for row in benchmark.standings(cells[cells["budget"] == 10])}["mine"]
    measured = ("difference", "low", "high", "regret", "pool_seconds")
    np.testing.assert_allclose([getattr(ten, name) for name in measured], [getattr(alone, name) for name in measured])


def test_without_a_difference_few_strategies_win() -> None:
    """Of 30 strategies no better than random, at most about 5 % have any verdict."""
    rng = np.random.default_rng(0)
    table = random_table(rng, ["random", *(f"s{i}" for i in range(30))], "a", seeds=8, lost=0.0)
    rows = benchmark.standings(benchmark.values(table))
    assert sum(row.better + row.worse > 0 for row in rows) <= 5


@given(st.lists(st.floats(-1, 1, allow_subnormal=False), min_size=2, max_size=9, unique_by=abs))
def test_signed_ranks_are_scipy_s(differences: list[float]) -> None:
    values = [each for each in differences if each]
    if len(values) > 1:
        expected = stats.wilcoxon(values, method="exact").pvalue
        assert benchmark.signed_rank(values) == pytest.approx(expected)


def test_pairs_are_over_independent_data_sets() -> None:
    rng = np.random.default_rng(1)
    table = random_table(rng, ["random", "mine", "other"], lost=0.0)
    rows = benchmark.pairs(benchmark.values(table))
    assert len(rows) == 3 and {row.origins for row in rows} == {2}
    assert min(row.p for row in rows) >= 0.5 and all(row.p_holm >= row.p for row in rows)
    means = table.groupby(["origin", "strategy"])["accuracy"].mean().unstack()
    for row in rows:
        assert row.difference == pytest.approx((means[row.first] - means[row.second]).mean())


def test_a_cell_that_two_sweeps_have_counts_once() -> None:
    table = random_table(np.random.default_rng(2), ["random", "mine"], lost=0.0)
    twice = pd.concat([table, table.assign(sweep=table["sweep"] + "-again")], ignore_index=True)
    pd.testing.assert_frame_equal(benchmark.values(twice), benchmark.values(table))


def test_of_queries_the_last_round_counts() -> None:
    first = random_table(np.random.default_rng(3), ["random", "mine"], lost=0.0)
    later = [
        first.assign(
            query=query, round=number, labeled=first["labeled"] + 5 * number, accuracy=first["accuracy"] / number
        )
        for query in ("margin", "badge")
        for number in (1, 2)
    ]
    cells = benchmark.values(pd.concat([first, *later], ignore_index=True))
    queried = cells[cells["query"] != ""]
    assert len(queried) == 2 * len(first) and len(cells) == 3 * len(first)
    assert (queried["labeled"] == queried["budget"] + 10).all()
