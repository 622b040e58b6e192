"""Strategies that say in their name over which clusters their picks are spread."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tomli
from conftest import Initpools
from plain import QUICK
from test_strategies import METHODS

import initpools_cli
from initpools_cli.core.errors import UserError
from initpools_cli.core.registry import Method
from initpools_cli.strategies.select import choose
from initpools_cli.testing import cloud, inputs_for

SWEEP = ["al-run", "--budget", 5, "--rounds", 1, "--seeds", 2, "--threads", 1, "--from", "simclr"]


@pytest.mark.parametrize("method", METHODS)
def test_a_suffix_does_what_the_setting_does(method: Method) -> None:
    inputs = inputs_for(cloud(40))
    arrays = {key: inputs[key] for key in {*method.inputs, "embeddings", "clusters"}}
    knobs = QUICK.get(method.name, {})
    for suffix, setting in (
        ("kmeans5", {"balance": "kmeans", "n_clusters": 5}),
        ("clusters", {"balance": "clusters"}),
    ):
        spread = choose(method.name, arrays, 8, **setting, knobs=knobs).indices
        rest = {key: array for key, array in arrays.items() if key != "embeddings"}
        picks = initpools_cli.select(arrays["embeddings"], f"{method.name}@{suffix}", 8, **rest, **knobs)
        np.testing.assert_array_equal(picks, spread)


def test_a_suffix_and_a_setting_may_not_differ() -> None:
    points = cloud(40)
    same = initpools_cli.select(points, "kcenter@kmeans", 6, balance="kmeans", n_clusters=3)
    np.testing.assert_array_equal(same, initpools_cli.select(points, "coreset@kmeans3", 6, n_clusters=3))
    with pytest.raises(UserError, match="different clusters"):
        initpools_cli.select(points, "kcenter@kmeans", 6, balance="clusters", clusters=np.arange(40) % 3)
    with pytest.raises(UserError, match="write 'kcenter@kmeans4'"):
        initpools_cli.select(points, "kcenter@kmeans3", 6, n_clusters=4)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("kcenter@kmens", "Did you mean 'kcenter@kmeans'"),
        ("kcenter@kmeans0", "has 0 clusters.*'kcenter@kmeans30'"),
        ("kcenter@kmeans-1", "Did you mean 'kcenter@kmeans'"),
        ("kcenter@kmeansX", "Did you mean 'kcenter@kmeans'"),
        ("kcenter@kmeans1000000000", "Did you mean 'kcenter@kmeans'"),
        ("kcenter@clusters3", "Did you mean 'kcenter@clusters'"),
        ("kcenter@", "has the unknown suffix"),
        ("kcenter@none", "has the unknown suffix"),
        ("kcenter@kmeans3@clusters", "more than one '@'.*'kcenter@kmeans3'"),
        ("kcentre@kmeans3", "no strategy 'kcentre@kmeans3'. Did you mean 'kcenter@kmeans3'"),
    ],
)
def test_another_suffix_is_refused(name: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        initpools_cli.select(cloud(20), name, 3)


def test_a_pool_is_found_under_every_name_of_its_strategy(copied_run: Path, initpools: Initpools) -> None:
    run = copied_run / "runs/digits"
    options = ["--budget", 6, "--threads", 1]
    old = initpools("select-pool", "kcenter", *options, "--balance", "kmeans", "--set", "n_clusters=4")
    assert old.code == 0
    for name in ("kcenter@kmeans4", "coreset@kmeans4"):
        again = initpools("select-pool", name, *options)
        assert "already done: runs/digits/pool/kcenter-b6-s0" in again.err and again.out == old.out
    new = initpools("select-pool", "kcenter@kmeans", *options, "--compare", "kcenter,kcenter@kmeans4,random@kmeans2")
    assert new.code == 0 and (run / "pool/kcenter@kmeans-b6-s0/indices.npy").exists()
    assert "already done: pool/kcenter-b6-s0" in new.err
    compared = pd.read_csv(run / "compare/kcenter@kmeans-b6-s0/compare.csv")
    assert set(compared["strategy"]) == {"kcenter@kmeans", "kcenter", "kcenter@kmeans4", "random@kmeans2"}
    assert initpools("compare", "kcenter@kmeans-b6-s0", "random@kmeans2-b6-s0").code == 0
    assert initpools("plot", "overlap", "--name", "kcenter@kmeans-b6-s0", "--name", "kcenter-b6-s0").code == 0
    result = initpools("rank", "outlier@kmeans7")
    assert result.code == 0 and "/rank/outlier@kmeans7" in result.err
    same = initpools("rank", "outlier", "--set", "balance=kmeans", "--set", "n_clusters=7")
    assert "already done: runs/digits/rank/outlier@kmeans7" in same.err and same.out == result.out


def test_a_balanced_strategy_stands_beside_random_in_a_sweep(copied_run: Path, initpools: Initpools) -> None:
    inits = ["--init", "random,outlier,outlier@kmeans4", "--set", "al.params.outlier.neighbors=3"]
    assert initpools(*SWEEP, *inits, "--set", "al.params.outlier@kmeans4.neighbors=2", "--name", "both@4").code == 0
    assert initpools(*SWEEP, "--name", "alone").code == 0
    both, alone = (copied_run / "runs/digits/al" / name for name in ("both@4", "alone"))
    rounds = pd.read_csv(both / "rounds.csv", keep_default_na=False)
    assert rounds["init"].unique().tolist() == ["random", "outlier", "outlier@kmeans4"]
    pd.testing.assert_frame_equal(
        rounds[rounds["init"] == "random"].reset_index(drop=True),
        pd.read_csv(alone / "rounds.csv", keep_default_na=False),
    )
    picks = np.load(both / "picks.npz")
    for cell, bought in np.load(alone / "picks.npz").items():
        np.testing.assert_array_equal(picks[cell], bought)
    plain, spread = (picks[f"{name}|random|linear|simclr|0"][:5] for name in ("outlier", "outlier@kmeans4"))
    assert set(plain.tolist()) != set(spread.tolist())
    # One score each: the full name's knobs go over those of the name without a suffix.
    reads = tomli.loads((both / "step.toml").read_text())["reads"]
    assert sum(path.startswith("score/outlier") for path in reads) == 2
    result = initpools("compare", "both@4")
    assert result.code == 0 and "\toutlier@kmeans4\t" in result.out
    assert "compared with random at the same seeds" in result.err


def test_a_balance_for_all_is_refused_where_strategies_are_compared(copied_run: Path, initpools: Initpools) -> None:
    everywhere = ["--set", "select.balance=kmeans", "--set", "n_clusters=4"]
    ended = initpools(*SWEEP, "--init", "random,kcenter", *everywhere)
    assert ended.code == 2 and "--init random,kcenter@kmeans4." in ended.err and "(--set)" in ended.err
    assert not (copied_run / "runs/digits/al").exists()
    Path("labels.csv").write_text("index,label\n0,1\n1,2\n2,1\n3,2\n")
    words = ["al-run", "--labels", "labels.csv", "--query", "margin", "--next", "next.csv", "--budget", 4]
    ended = initpools(*words, *everywhere)
    assert ended.code == 2 and "--query margin@kmeans4." in ended.err and not Path("next.csv").exists()
    words[words.index("margin")] = "margin@kmeans4"
    assert initpools(*words).code == 0
    assert sorted(pd.read_csv("next.csv")["cluster"]) == [0, 1, 2, 3]
    twice = initpools(*SWEEP, "--init", "kcenter@kmeans,kcenter@kmeans10")
    assert twice.code == 2 and "which are the same: both have 10 clusters" in twice.err
