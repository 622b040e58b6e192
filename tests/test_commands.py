"""Whole commands on the digits: what they write, print, repeat and refuse."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tomli
from conftest import FAST, Initpools, process, run_in
from plain import QUICK

from initpools_cli.cli.catalog import KINDS
from initpools_cli.figures.registry import plots
from initpools_cli.pretext.registry import pretexts
from initpools_cli.reporting.plot_data.sources import plot_module
from initpools_cli.scores.registry import scores
from initpools_cli.steps.score_name import pretext_score, score_names
from initpools_cli.strategies.arrays import MODEL_OUTPUTS
from initpools_cli.strategies.registry import strategies
from initpools_cli.training.active_learning import COLUMNS

COMMANDS = [
    "pretrain", "embed", "score", "select-pool", "al-run", "rank", "plot", "list", "status", "compare",
    "verify", "repair",
]  # fmt: skip


# ---- help and lists


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str, initpools: Initpools) -> None:
    text = initpools(command, "--help").out
    assert "Example: initpools" in text
    assert "--json" in text


def test_help_loads_nothing_heavy() -> None:
    heavy = "torch torchvision plotly sklearn medmnist lightning_fabric pandas scipy pydantic faiss"
    code = f"import sys, initpools_cli.cli.app; print([m for m in '{heavy}'.split() if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("kind", KINDS)
def test_lists_name_everything(kind: str, initpools: Initpools) -> None:
    lines = initpools("list", kind).out.splitlines()
    rows = json.loads(initpools("list", kind, "--json").out)
    assert [line.split("\t")[0] for line in lines] == [row["name"] for row in rows]
    assert len(rows) > 0
    assert all(line.split("\t")[1] for line in lines)


def test_the_list_of_strategies_says_what_each_needs(initpools: Initpools) -> None:
    rows = {row["name"]: row for row in json.loads(initpools("list", "strategies", "--json").out)}
    assert set(rows) == {*strategies.names(), *score_names()}
    assert rows["typiclust"]["inputs"] == ["embeddings"] and rows["typiclust"]["nested"] is False
    assert rows["kcenter"]["nested"] is True and "arXiv" in rows["kcenter"]["paper"]
    assert rows["typiclust"]["knobs"]["distance"] == "l2"
    assert all({"paper", "inputs", "knobs", "nested"} <= set(row) for row in rows.values())


def test_every_plot_has_a_source() -> None:
    assert all(plot_module(kind).gather for kind in plots.names())


# ---- the chain


@pytest.mark.usefixtures("quick_classifier")
def test_the_chain_from_embeddings_to_plots(run_with_dynamics: Path, initpools: Initpools) -> None:
    run = run_with_dynamics / "runs/digits"
    assert initpools("score", "simclr", "-o", "losses.npy").code == 0
    losses = np.load("losses.npy")
    train = np.load(run / "embed/simclr/train.npy")
    assert losses.shape == (len(train),) and losses.dtype == np.float64

    picked = initpools("select-pool", "typiclust", "--budget", 20, "-o", "pool.csv")
    assert picked.code == 0
    pool = pd.read_csv("pool.csv")
    assert list(pool.columns) == ["order", "index", "path", "label", "score", "cluster", "represents"]
    assert pool["order"].tolist() == list(range(20))
    assert picked.out == "pool.csv\n"
    again = initpools("select-pool", "typiclust", "--budget", 20)
    assert again.out.split() == [str(index) for index in pool["index"]]
    assert pool["label"].isna().all()
    assert pool["represents"].sum() == 1438
    indices = np.load(run / "pool/typiclust-b20-s0/indices.npy")
    assert indices.dtype == np.int64 and indices.tolist() == pool["index"].tolist()

    swept = initpools(
        "al-run", "--init", "random,simclr", "--query", "random,margin", "--budget", 5, "--rounds", 2, "--seeds", 2
    )
    assert swept.code == 0, swept.err
    rounds = pd.read_csv(run / "al/main/rounds.csv")
    assert list(rounds.columns) == list(COLUMNS)
    assert len(rounds) == 2 * 2 + 2 * 2 * 2 * 2
    assert rounds.loc[rounds["round"] == 0, "query"].isna().all()
    assert sorted(rounds["labeled"].unique()) == [5, 10, 15]
    assert rounds["leaks"].eq(0).all() and rounds["accuracy"].between(0, 1).all()

    result = initpools("rank", "consistency", "--set", "rank.views=4", "-o", "sorted_idx.npy")
    assert result.code == 0, result.err
    order, mask = np.load("sorted_idx.npy"), np.load(run / "data/kept.npy")
    assert order.dtype == np.int64 and sorted(order.tolist()) == np.flatnonzero(mask).tolist()
    assert len(train) == 1797 and mask.sum() == 1438 and mask[indices].all()
    by_image = np.load(run / "rank/consistency/scores.npy")
    assert (np.diff(by_image[order]) <= 0).all()

    # Costs are measured for a while: tests/test_figures_comparisons.py draws them.
    # Labeling rounds are drawn in tests/test_page.py.
    for kind in {*plots.names()} - {"cost", "rounds", "classes", "confusion"}:
        # Two epochs are enough to map training.
        plot = initpools("plot", kind, "--set", "score.epochs=2", "-o", f"{kind}.html")
        assert plot.code == 0, plot.err
        assert "<html" in Path(f"{kind}.html").read_text()[:200]

    assert initpools("verify").code == 0
    (run / "pool/typiclust-b20-s0/indices.npy").write_bytes(b"x")
    changed = initpools("verify")
    assert changed.code == 2 and "pool/typiclust-b20-s0/indices.npy\tchanged" in changed.out
    state = json.loads(initpools("status", "--json").out)
    assert {step["step"].split("/")[0] for step in state["steps"]} == {
        "pretrain", "embed", "score", "pool", "al", "reference", "rank", "dynamics",
    }  # fmt: skip


def test_steps_say_what_they_are_made_of(copied_run: Path) -> None:
    facts = tomli.loads((copied_run / "runs/digits/embed/simclr/step.toml").read_text())
    assert facts["command"].startswith("initpools embed")
    assert set(facts["reads"]) == {"data/items.csv", "pretrain/simclr/encoder.safetensors"}
    assert set(facts["writes"]) == {"near_duplicates.npy", "train.npy", "test.npy"}
    assert facts["finished"] > facts["started"] and facts["version"] and facts["threads"] == 1
    items = pd.read_csv(copied_run / "runs/digits/data/items.csv")
    assert list(items.columns) == ["index", "path", "split", "label", "class", "bytes", "sha256"]
    run = tomli.loads((copied_run / "runs/digits/run.toml").read_text())
    assert run["run"] == {"seed": 0} and run["dataset"]["name"] == "digits"
    log = pd.read_csv(copied_run / "runs/digits/pretrain/simclr/log.csv")
    assert log["epoch"].tolist() == [1, 2] and log["knn_accuracy"].between(0, 1).all()
    assert (log["images_per_second"] > 0).all()


def test_again_is_already_done_and_force_redoes_to_the_same_bytes(copied_run: Path, initpools: Initpools) -> None:
    first = initpools("select-pool", "kcenter", "--budget", 5)
    file = copied_run / "runs/digits/pool/kcenter-b5-s0/indices.npy"
    before, stamp = file.read_bytes(), file.stat().st_mtime_ns
    again = initpools("select-pool", "kcenter", "--budget", 5)
    assert "already done" in again.err and again.out == first.out and again.code == 0
    assert file.stat().st_mtime_ns == stamp
    forced = initpools("select-pool", "kcenter", "--budget", 5, "--force")
    assert "already done" not in forced.err and file.read_bytes() == before
    assert file.stat().st_mtime_ns != stamp


def test_another_configuration_gets_its_own_folder(copied_run: Path, initpools: Initpools) -> None:
    initpools("select-pool", "typiclust", "--budget", 5)
    initpools("select-pool", "typiclust", "--budget", 5, "--set", "distance=l2sq")
    initpools("select-pool", "typiclust", "--budget", 5, "--seed", 1)
    names = sorted(path.name for path in (copied_run / "runs/digits/pool").iterdir())
    assert names[0] == "typiclust-b5-s0" and re.fullmatch(r"typiclust-b5-s0-[0-9a-f]{6}", names[1])
    assert names[2] == "typiclust-b5-s1"


def test_pools_in_every_format_and_with_labels(copied_run: Path, initpools: Initpools) -> None:
    for ending in ("npy", "csv", "json"):
        assert initpools("select-pool", "random", "--budget", 4, "--with-labels", "-o", f"p.{ending}").code == 0
    indices = np.load("p.npy")
    items = pd.read_csv(copied_run / "runs/digits/data/items.csv")
    classes = items[items["split"] == "train"]["class"].to_numpy()
    assert pd.read_csv("p.csv")["label"].tolist() == classes[indices].tolist()
    assert [row["index"] for row in json.loads(Path("p.json").read_text())] == indices.tolist()
    refused = initpools("select-pool", "random", "--budget", 4, "-o", "p.txt")
    assert refused.code == 2 and ".npy, .csv or .json" in refused.err
    assert not Path("p.txt").exists()


@pytest.fixture(scope="module")
def selecting(pretrained_with_dynamics: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the run with training dynamics, in which every strategy selects: clusters are made once."""
    folder = tmp_path_factory.mktemp("selecting")
    shutil.copytree(pretrained_with_dynamics / "runs", folder / "runs")
    return folder


@pytest.mark.parametrize("name", sorted({*strategies.names(), *score_names()}))
def test_every_strategy_selects_or_says_what_it_misses(
    name: str, selecting: Path, monkeypatch: pytest.MonkeyPatch, initpools: Initpools
) -> None:
    monkeypatch.chdir(selecting)
    inputs = set(strategies.get(name).inputs) if name in strategies else set()
    task_of = {pretext_score(method): method.name for method in pretexts}
    untrained = name in set(score_names()) - {"simclr", *scores.names()}
    quick = [f"--set={key}={value}" for key, value in QUICK.get(name, {}).items()]
    for balance in ("none", "kmeans"):
        result = initpools("select-pool", name, "--budget", 12, "--balance", balance, "--set", "score.epochs=2", *quick)
        if inputs & {*MODEL_OUTPUTS, "order", "scores", "clusters", "patches", "query_set"} or untrained:
            assert result.code == 2
            assert f"initpools pretrain {task_of[name]}" in result.err if untrained else "FILE" in result.err
        else:
            assert result.code == 0 and len(set(result.out.split())) == 12


def test_seeds_vary_and_repeat(copied_run: Path, initpools: Initpools) -> None:
    first = initpools("select-pool", "random", "--budget", 9, "--seed", 1).out
    assert initpools("select-pool", "random", "--budget", 9, "--seed", 2).out != first
    assert initpools("select-pool", "random", "--budget", 9, "--seed", 1, "--force").out == first


def test_labeled_images_are_not_chosen_again(copied_run: Path, initpools: Initpools) -> None:
    initpools("select-pool", "kcenter", "--budget", 10, "-o", "first.csv")
    first = pd.read_csv("first.csv")["index"].astype(str).tolist()
    for file in ("first.csv", "mask.npy"):
        np.save("mask.npy", np.isin(np.arange(1797), np.array(first, dtype=int)))
        second = initpools("select-pool", "kcenter", "--budget", 10, "--labeled", file).out.split()
        assert len(second) == 10 and not set(first) & set(second)


#: A command that is killed before it writes its third block.
KILLED = """
import os, signal, sys
from initpools_cli.cli.app import main

def stop(event, arguments):
    if event == "os.rename" and str(arguments[1]).endswith("block-00002.npz"):
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(stop)
main()
"""


def test_a_sweep_that_was_stopped_goes_on_to_the_same_bytes(copied_run: Path, initpools: Initpools) -> None:
    words = [
        "al-run",
        "--init",
        "random,kcenter",
        "--query",
        "random,margin,entropy",
        "--budget",
        5,
        "--rounds",
        2,
        "--seeds",
        3,
    ]
    straight = initpools(*words, "--name", "straight")
    assert straight.code == 0
    command = [sys.executable, "-c", KILLED, *map(str, words), "--name", "stopped"]
    stopped = subprocess.run(command, cwd=copied_run, capture_output=True, text=True, check=False)
    assert stopped.returncode == -signal.SIGKILL, stopped.stderr
    again = initpools(*words, "--name", "stopped")
    assert again.code == 0 and "resuming al-run with 2 of 6 blocks done" in again.err
    for file in ("rounds.csv", "recalls.csv", "picks.npz"):
        one, other = (copied_run / "runs/digits/al" / name / file for name in ("straight", "stopped"))
        assert one.read_bytes() == other.read_bytes()


def test_scratch_is_a_learner_and_sees_images(copied_run: Path, initpools: Initpools) -> None:
    swept = initpools(
        "al-run", "--init", "random", "--query", "consistency", "--learner", "scratch", "--budget", 10, "--rounds", 1,
        "--seeds", 1, "--set", "al.params.steps=2", "--set", "al.params.epochs=1", "--set", "al.params.width=0.25",
        "--name", "s",
    )  # fmt: skip
    assert swept.code == 0, swept.err
    refused = initpools("al-run", "--init", "random", "--query", "consistency", "--name", "t")
    assert refused.code == 2 and "--learner: finetune, flexmatch, scratch" in refused.err


# ---- killed and resumed


@pytest.mark.parametrize(
    "stop", [signal.SIGTERM, *(pytest.param(each, marks=pytest.mark.slow) for each in (signal.SIGKILL, signal.SIGINT))]
)
def test_a_killed_pretrain_goes_on_to_the_same_bytes(
    stop: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initpools: Initpools
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (96, 8, 8), dtype=np.uint8)
    words = ["pretrain", "simclr", "--dataset", "few.npz", "--threads", "1", *FAST]
    words += ["--set", "pretrain.epochs=10", "--set", "pretrain.batch=32", "--verbose"]
    for name in ("straight", "killed"):
        (tmp_path / name).mkdir()
        np.savez(tmp_path / name / "few.npz", train_images=images)
    monkeypatch.chdir(tmp_path / "straight")
    straight = initpools(*words)
    assert straight.code == 0, straight.err
    killed = process(*words, cwd=tmp_path / "killed")
    assert killed.stderr is not None
    for line in killed.stderr:
        if line.startswith("epoch 2 of 10"):
            killed.send_signal(stop)
            break
    _, rest = killed.communicate()
    assert killed.returncode == {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}[stop], rest
    assert ("interrupted.\nFinished work in a run is kept" in rest) == (stop != signal.SIGKILL)
    assert not (tmp_path / "killed/runs/few/pretrain").exists()
    monkeypatch.chdir(tmp_path / "killed")
    resumed = initpools(*words)
    assert resumed.code == 0, resumed.err
    epoch = re.search(r"resuming simclr at epoch (\d+) of 10", resumed.err)
    assert epoch is not None and int(epoch[1]) >= 3
    one, other = (tmp_path / name / "runs/few/pretrain/simclr/encoder.safetensors" for name in ("straight", "killed"))
    assert one.read_bytes() == other.read_bytes()
    assert not list((tmp_path / "killed/runs/few/.partial").rglob("*.pt"))


# ---- bring your own numbers, without a run


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    np.save("emb.npy", rng.normal(size=(60, 5)).astype(np.float32))
    np.save("probs.npy", rng.dirichlet(np.ones(3), 60))
    np.save("views.npy", rng.dirichlet(np.ones(3), (4, 60)))
    np.save("scores.npy", rng.normal(size=60))
    np.save("clusters.npy", rng.integers(0, 4, 60))
    np.save("order.npy", rng.permutation(60))
    np.save("labels.npy", rng.integers(0, 3, 60))
    np.save("query.npy", np.array([4, 8, 15]))
    np.save("patches.npy", rng.normal(size=(60, 4, 5)).astype(np.float32))
    return tmp_path


BRING = {
    "embeddings": ["--embeddings", "emb.npy"],
    "probs": ["--probs", "probs.npy"],
    "view_probs": ["--probs", "views.npy"],
    "mc_probs": ["--probs", "views.npy"],
    "member_probs": ["--probs", "views.npy"],
    "scores": ["--scores", "scores.npy"],
    "order": ["--ranking", "order.npy"],
    "clusters": ["--clusters", "clusters.npy"],
    "labels": ["--labels", "labels.npy"],
    "patches": ["--patches", "patches.npy"],
    "query_set": ["--query-set", "query.npy"],
}


@pytest.mark.parametrize("name", strategies.names())
def test_every_strategy_runs_from_files_alone(name: str, bare: Path, initpools: Initpools) -> None:
    needs = strategies.get(name).inputs
    files = [word for need in needs for word in BRING.get(need, [])] or BRING["embeddings"]
    files = [*files, *(f"--set={key}={value}" for key, value in QUICK.get(name, {}).items())]
    picked = initpools("select-pool", name, *files, "--budget", 7, "-o", "pool.npy")
    if not set(needs) <= set(BRING):
        # Nobody has a classifier's features or a discriminator's answers in a file.
        assert picked.code == 2 and "al-run" in picked.err
        return
    assert picked.code == 0, picked.err
    assert len(set(np.load("pool.npy").tolist())) == 7
    result = initpools("rank", name, *files, "-o", "sorted.npy")
    assert result.code == 0, result.err
    assert sorted(np.load("sorted.npy").tolist()) == list(range(60))
    assert not (bare / "runs").exists()
    without = initpools("select-pool", name, "--budget", 7)
    assert without.code == 2 and "Traceback" not in without.err


def test_given_scores_are_ordered_as_defined(bare: Path, initpools: Initpools) -> None:
    scores, clusters = np.load("scores.npy"), np.load("clusters.npy")
    initpools("rank", "score", "--scores", "scores.npy", "-o", "high.npy")
    initpools("rank", "score", "--scores", "scores.npy", "--set", "order=lowest", "-o", "low.npy")
    stratified = initpools("rank", "score", "--scores", "scores.npy", "--set", "order=stratified", "-o", "no.npy")
    assert stratified.code == 2 and "depend on the budget" in stratified.err and not Path("no.npy").exists()
    initpools("rank", "score", "--scores", "scores.npy", "--clusters", "clusters.npy", "-o", "spread.npy")
    assert np.load("high.npy").tolist() == np.argsort(-scores, kind="stable").tolist()
    assert np.load("low.npy").tolist() == np.argsort(scores, kind="stable").tolist()
    piles = [[i for i in np.argsort(-scores, kind="stable").tolist() if clusters[i] == k] for k in range(4)]
    turns = [pile[turn] for turn in range(max(map(len, piles))) for pile in piles if turn < len(pile)]
    assert np.load("spread.npy").tolist() == turns


def test_all_rows_append_what_is_not_ranked(copied_run: Path, initpools: Initpools) -> None:
    run = copied_run / "runs/digits"
    mask = np.load(run / "data/kept.npy")
    np.save("known.npy", labeled := np.flatnonzero(mask)[::7])
    np.save("out.npy", out := np.flatnonzero(mask)[3:40:9])
    free = np.setdiff1d(np.flatnonzero(mask), np.concatenate([labeled, out]))
    words = ["rank", "typicality", "--labeled", "known.npy", "--exclude", "out.npy"]
    plain, every = initpools(*words, "-o", "a.npy"), initpools(*words, "--all-rows", "-o", "b.npy")
    order, rows = np.load("a.npy"), np.load("b.npy")
    assert sorted(order.tolist()) == free.tolist()
    assert rows.tolist() == [*order.tolist(), *np.setdiff1d(np.arange(len(mask)), free).tolist()]
    assert f"{len(free):,} of {len(mask):,} rows; --all-rows appends the other {len(mask) - len(free)}" in plain.err
    assert f"all {len(mask):,} rows: {len(free):,} ranked, then the other" in every.err
    steps = {step.name: tomli.loads((step / "step.toml").read_text()) for step in (run / "rank").glob("typicality*")}
    assert {name == "typicality": facts["outcome"] for name, facts in steps.items()} == {
        True: {"ranked": len(free), "rows": len(free), "train_rows": len(mask)},
        False: {"ranked": len(free), "rows": len(mask), "train_rows": len(mask)},
    }
    assert "all_rows" not in steps["typicality"]["table"]
    # Appended rows are no part of an order.
    other = next(name for name in steps if name != "typicality")
    row = json.loads(initpools("compare", "typicality", other, "--json").out)[0]
    assert row["shared"] == len(free) and row["spearman"] == 1
    again = json.loads(initpools(*words, "--all-rows", "--json").out)
    assert (again["ranked"], again["train_rows"], again["sorted_idx"]) == (len(free), len(mask), rows.tolist())


def test_all_rows_of_a_file_of_embeddings(bare: Path, initpools: Initpools) -> None:
    np.save("known.npy", np.array([4, 2]))
    words = ["rank", "kcenter", "--embeddings", "emb.npy", "--all-rows", "-o", "all.npy"]
    assert initpools(*words, "--labeled", "known.npy").code == 0
    order = np.load("all.npy").tolist()
    assert sorted(order) == list(range(60)) and order[-2:] == [2, 4]
    assert "--all-rows" not in initpools(*words).err


def test_a_table_of_labeled_images_may_have_no_rows(bare: Path, initpools: Initpools) -> None:
    Path("none.csv").write_text("index,label\n")
    words = ["select-pool", "kcenter", "--embeddings", "emb.npy", "--budget", 5]
    assert initpools(*words, "--labeled", "none.csv").out == initpools(*words).out != ""


def test_plots_and_comparisons_from_files(bare: Path, initpools: Initpools) -> None:
    np.save("pool.npy", np.arange(5))
    assert initpools("plot", "scatter", "--embeddings", "emb.npy", "--labeled", "pool.npy", "-o", "s.html").code == 0
    assert initpools("plot", "scores", "--scores", "scores.npy").out == "scores.html\n"
    assert initpools("plot", "curves", "--embeddings", "emb.npy").code == 2
    row = json.loads(initpools("compare", "pool.npy", "order.npy", "--json").out)[0]
    assert row["shared"] == 5


def test_select_from_python_is_the_same_function(bare: Path, initpools: Initpools) -> None:
    import initpools_cli

    picks = initpools_cli.select(np.load("emb.npy"), "kcenter", 6, labeled=np.array([3]), seed=2)
    np.save("three.npy", np.array([3]))
    initpools(
        "select-pool",
        "kcenter",
        "--embeddings",
        "emb.npy",
        "--labeled",
        "three.npy",
        "-n",
        6,
        "--seed",
        2,
        "-o",
        "p.npy",
    )
    assert np.load("p.npy").tolist() == picks.tolist()


# ---- refusals


REFUSED = [
    (["pretrain", "simclar", "--dataset", "digits"], "'simclar'", "'simclr'"),
    (["pretrain", "simclr", "--dataset", "digitz"], "digitz", "digits"),
    (
        ["pretrain", "simclr", "--dataset", "digits", "--set", "pretrain.epoch=3"],
        "'pretrain.epoch'",
        "'pretrain.epochs'",
    ),
    (["pretrain", "simclr", "--dataset", "digits", "--set", "temprature=3"], "'temprature'", "'temperature'"),
    (["pretrain", "simclr", "--dataset", "digits", "--set", "temperature=-1"], "temperature = -1", "temperature"),
    (["pretrain", "simclr", "--dataset", "absent.npz"], "absent.npz", ""),
    (["pretrain", "simclr", "--batch", "99999"], "99999", "pretrain.batch="),
    (["pretrain", "simclr", "--network", "resnet19"], "'resnet19'", "'resnet18'"),
    (["pretrain", "simclr", "--set", "pretrain.augment=simcrl"], "'simcrl'", "'simclr'"),
    (["pretrain", "simclr", "--device", "cuda"], "cuda", "pytorch.org"),
    (["embed", "simclar"], "'simclar'", "'simclr'"),
    (["embed", "vae"], "'vae'", "initpools pretrain vae"),
    (["embed", "resnet18"], "resnet18", "--weights"),
    (["score", "rotation"], "'rotation'", "initpools pretrain rotation"),
    (["score", "typiclust"], "'typiclust'", ""),
    (["select-pool", "typiclst", "--budget", "5"], "'typiclst'", "'typiclust'"),
    (["select-pool", "typiclust"], "Missing option --budget.", "--budget 20"),
    (["select-pool", "typiclust", "--budget", "0"], "(in --budget)", "select.budget"),
    (
        ["select-pool", "typiclust", "--budget", "99999"],
        "--budget 99999 is more than the 1,438 unlabeled images.",
        "smaller budget",
    ),
    (["select-pool", "vae", "--budget", "5"], "'vae'", "initpools pretrain vae"),
    (["select-pool", "entropy", "--budget", "5"], "'entropy' needs probs of a trained model", "initpools rank entropy"),
    (["select-pool", "kcenter", "--budget", "5", "--set", "order=lowest"], "order = 'lowest'", ""),
    (["select-pool", "kcenter", "--budget", "5", "--from", "vae"], "'vae'", "initpools pretrain vae"),
    (
        ["select-pool", "kcenter", "--budget", "5", "--embeddings", "short.npy", "--run", "runs/digits"],
        "3 rows",
        "one row",
    ),
    (["select-pool", "kcenter", "--budget", "2", "--embeddings", "nan.npy"], "NaN or infinity in 1", "rows"),
    (["select-pool", "kcenter", "--budget", "2", "--embeddings", "pickled.npy"], "pickled", "numpy.save"),
    (["select-pool", "kcenter", "--budget", "2", "--embeddings", "text.npy"], "it is not a .npy file", "numpy.save"),
    (
        ["select-pool", "kcenter", "--budget", "2", "--embeddings", "short.npy", "-o", "./short.npy"],
        "would replace",
        "-o",
    ),
    (["select-pool", "score", "--budget", "2", "--scores", "constant.npy"], "constant within rounding", "random"),
    (["al-run", "--init", "margin"], "margin", "--query"),
    (["al-run", "--query", "marginn"], "'marginn'", "'margin'"),
    (["al-run", "--init", "kcenter,coreset"], "--init names kcenter more than once", "aliases"),
    (["al-run", "--name", ""], "''", "letters"),
    (["al-run", "--name", "../embed/simclr"], "'../embed/simclr'", "letters"),
    (["al-run", "--learner", "linear,scratch", "--set", "al.params.penalty=1"], "penalty", "al.params.linear"),
    (["al-run", "--set", "penalti=1"], "'penalti'", "'penalty'"),
    (["rank", "margin", "-o", "x.csv"], "x.csv", ".npy"),
    (["rank", "margin", "--labeled", "outside.npy"], "99999", "indices from 0"),
    (["rank", "margin", "--labeled", "floats.npy"], "float64", "int64"),
    (["rank", "margin", "--labeled", "far.csv"], "there are 1797 train images", "Correct"),
    (["rank", "margin", "--reference", "labeled", "--labeled", "outside.npy"], "99999", "indices from 0"),
    (["select-pool", "simclr", "--budget", "3", "--from", "nosuch"], "'nosuch'", "Leave --from out"),
    (["compare", "short.npy"], "short.npy", "two or more"),
    (["al-run", "--budget", "2000", "--rounds", "9"], "2000 images is more than", "smaller --init-budget"),
    (["al-run", "--query", "consistency"], "linear does not provide", "scratch"),
    (["al-run", "--seeds", "0"], "seeds = 0", "Set"),
    (["al-run", "--init", "margin"], "needs a trained model for probs", "--query"),
    (["al-run", "--strict", "--init", "class-balanced"], "class-balanced", "--strict"),
    (["al-run", "--strict", "--set", "al.validation=free-val"], "validation split", "--strict"),
    (["al-run", "--scheduler", "tcp://127.0.0.1:1"], "--scheduler", "--backend"),
    (["al-run", "--set", "al.params.linear={preset='quik'}"], "'quik'", "'quick'"),
    (["al-run", "--learner", "liner"], "'liner'", "'linear'"),
    (["rank", "margin", "--reference", "val"], "val", "test"),
    (["rank", "margin", "--reference", "labeled"], "labeled", "--labeled"),
    (["plot", "curve"], "'curve'", "'curves'"),
    (["plot", "curves"], "al/", "initpools al-run"),
    (["plot", "scatter", "-o", "x.gif"], "x.gif", ".html"),
    (["list", "strategy"], "'strategy'", "'strategies'"),
    (["compare", "a", "b"], "'a'", ".npy"),
    (["status", "--run", "nowhere"], "nowhere", "initpools select-pool --dataset"),
    (["embed", "--run", "nowhere"], "nowhere", "--dataset"),
    (["embed", "--run", "runs/digits", "--dataset", "mnist"], "'digits'", "--run"),
    (["embed", "--seed", "-1"], "-1", ""),
    (["embed", "--nonsense"], "--nonsense", "--help"),
    (["frobnicate"], "frobnicate", "--help"),
]


@pytest.mark.parametrize(("words", "fact", "remedy"), REFUSED, ids=[" ".join(words) for words, *_ in REFUSED])
def test_what_the_user_can_mend_gets_a_sentence(
    words: list[str], fact: str, remedy: str, copied_run: Path, initpools: Initpools
) -> None:
    np.save("short.npy", np.zeros((3, 2), np.float32))
    np.save("nan.npy", np.array([[1.0, 2], [3, np.nan], [4, 5]]))
    np.save("constant.npy", np.full(50, 0.3))
    np.save("outside.npy", np.array([1, 99999]))
    np.save("floats.npy", np.array([1.0, 2.0]))
    np.save("pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
    Path("text.npy").write_text("hello")
    Path("far.csv").write_text(f"index\n{10**20}\n")
    before = sorted(str(path) for path in (copied_run / "runs").rglob("*") if ".partial" not in path.parts)
    ended = initpools(*words)
    assert ended.code == 2, ended.err
    error = ended.err[ended.err.index("error:") :]
    assert "Traceback" not in ended.err
    assert fact in error and remedy in error
    assert ended.out == ""
    after = sorted(str(path) for path in (copied_run / "runs").rglob("*") if ".partial" not in path.parts)
    assert after == before
    assert not any(path.is_file() for path in (copied_run / "runs").glob("*/.partial/*/*/*"))


def test_a_run_of_another_data_set_is_refused(copied_run: Path, initpools: Initpools) -> None:
    rng = np.random.default_rng(0)
    np.savez(
        "digits.npz", train_images=rng.integers(0, 255, (30, 8, 8), dtype=np.uint8), train_labels=np.arange(30) % 2
    )
    ended = initpools("embed", "pixels", "--dataset", "digits.npz")
    assert ended.code == 2 and "about dataset.name = 'digits'" in ended.err


def test_a_step_that_is_already_done_makes_its_run_the_one_used_last(copied_run: Path, initpools: Initpools) -> None:
    pool = ["select-pool", "random", "--budget", 3]
    for run in ("runs/digits", "runs/other", "runs/digits"):
        assert initpools(*pool, "--dataset", "digits", "--run", run).code == 0
        assert initpools(*pool).err.startswith(f"run: {run}\n")


def test_a_place_without_permission(copied_run: Path, initpools: Initpools) -> None:
    Path("file").write_text("")
    ended = initpools("select-pool", "random", "--budget", 3, "-o", "file/pool.csv")
    assert ended.code == 2 and "can't be created" in ended.err
    assert initpools("embed", "pixels", "--dataset", "digits", "--run", "file/run").code == 2


def test_a_lost_file_is_made_again_and_said(copied_run: Path, initpools: Initpools) -> None:
    file = copied_run / "runs/digits/embed/simclr/train.npy"
    whole = file.read_bytes()
    file.unlink()
    refused = initpools("select-pool", "kcenter", "--budget", 3)
    assert refused.code == 2 and "embed/simclr/train.npy no longer exists" in refused.err
    command = re.search(r"`initpools (embed simclr .*)`", refused.err)
    assert command is not None and "--force" in command[1]
    assert initpools("embed", "--threads", 1).code == 0
    assert file.read_bytes() == whole


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("run.toml", ""),
        ("run.toml", "[run]\nseed = 'x'\n[dataset]\nname = 'digits'\n"),
        ("run.toml", "[run]\nseed = 0\n[dataset]\nsize = 'x'\n"),
        ("data/items.csv", ""),
        ("data/items.csv", "index,path\n1,2\n"),
        ("data/kept.npy", ""),
        ("embed/simclr/step.toml", ""),
        ("embed/simclr/step.toml", "[table]\n"),
        ("pretrain/simclr/step.toml", "not toml ["),
    ],
)
def test_a_damaged_run_is_said_by_every_command(file: str, text: str, copied_run: Path, initpools: Initpools) -> None:
    (copied_run / "runs/digits" / file).write_text(text)
    for words in (["embed"], ["select-pool", "kcenter", "--budget", 3], ["status"], ["verify"]):
        ended = initpools(*words)
        assert ended.code in (0, 2) and "Traceback" not in ended.err
        if words[0] in ("embed", "select-pool") and not file.startswith("pretrain"):
            assert ended.code == 2 and Path(file).name.split(".")[0] in ended.err


def test_a_cell_that_fails_is_recorded_and_the_others_go_on(
    copied_run: Path, initpools: Initpools, monkeypatch: pytest.MonkeyPatch
) -> None:
    from initpools_cli.training import active_learning as loop

    whole = loop._evaluate

    def breaks(block: Any, cell: Any, model: Any, round_: int, *rest: Any) -> Any:
        if (block.query, cell.index, round_) == ("margin", 1, 2):
            raise ArithmeticError("no luck")
        return whole(block, cell, model, round_, *rest)

    words = ["al-run", "--query", "random,margin", "--budget", 5, "--rounds", 3, "--seeds", 3, "--threads", 1]
    assert initpools(*words, "--name", "whole").code == 0
    monkeypatch.setattr(loop, "_evaluate", breaks)
    ended = initpools(*words)
    assert ended.code == 0 and "random, margin, linear, seed 1 failed in round 2: ArithmeticError: no luck" in ended.err
    rounds = pd.read_csv(copied_run / "runs/digits/al/main/rounds.csv")
    failed = rounds[rounds["status"] == "failed"]
    assert len(failed) == 1 and failed["accuracy"].isna().all() and failed["labeled"].item() == 15
    complete_rounds = pd.read_csv(copied_run / "runs/digits/al/whole/rounds.csv")
    lost = (complete_rounds["query"] == "margin") & (complete_rounds["seed"] == 1) & (complete_rounds["round"] >= 2)
    good = rounds[rounds["status"] == "ok"].reset_index(drop=True)
    pd.testing.assert_frame_equal(good, complete_rounds[~lost].reset_index(drop=True), check_dtype=False)
    assert initpools("plot", "curves").code == 0


@pytest.fixture(scope="module")
def swept(pretrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pretrained run with a score, a pool and a sweep. Never written to again."""
    folder = tmp_path_factory.mktemp("swept")
    shutil.copytree(pretrained / "runs", folder / "runs")
    run_in(
        folder,
        ["score", "simclr", "--set", "score.views=1"],
        ["select-pool", "random", "--budget", "4"],
        ["al-run", "--budget", "5", "--rounds", "1", "--seeds", "2"],
    )
    return folder


@pytest.mark.parametrize(
    ("words", "damaged"),
    [
        (["select-pool", "kcenter", "--budget", 4], "embed/simclr/train.npy"),
        (["select-pool", "simclr", "--budget", 4], "score/simclr/scores.npy"),
        (["select-pool", "random", "--budget", 4], "pool/random-b4-s0/items.csv"),
        (["plot", "curves"], "al/main/rounds.csv"),
        (["plot", "scores"], "score/simclr/scores.npy"),
        (["plot", "histogram"], "pool/random-b4-s0/items.csv"),
    ],
)
@pytest.mark.parametrize("how", ["empty", "cut", "lost"])
def test_a_damaged_result_is_said_with_the_command_that_makes_it_again(
    words: list[Any],
    damaged: str,
    how: str,
    swept: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    initpools: Initpools,
) -> None:
    shutil.copytree(swept / "runs", tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "runs/digits" / damaged
    content = file.read_bytes()
    if how == "lost":
        file.unlink()
    else:
        file.write_bytes(b"" if how == "empty" else content[: len(content) // 2])
    ended = initpools(*words)
    assert "Traceback" not in ended.err
    if ended.code == 2:
        command = re.search(r"`initpools (.*)`", ended.err)
        assert command is not None and "--force" in command[1]
        assert initpools(*shlex.split(command[1])).code == 0
        assert initpools(*words).code == 0
    else:
        # What is lost counts as not done, and a pool is simply made again.
        assert ended.code == 0 and how == "lost"


def test_a_refused_first_step_leaves_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initpools: Initpools
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (
        ["select-pool", "random", "--budget", 20000],
        ["select-pool", "random"],
        ["pretrain", "simclr", "--set", "batch=100000"],
        ["al-run", "--init", "random", "--budget", 2000, "--learner", "scratch"],
        ["rank", "consistency", "--reference", "val"],
        ["select-pool", "kmeans", "--budget", 3, "--from", "foo"],
    ):
        assert initpools(*words, "--dataset", "digits").code == 2, words
        assert not (tmp_path / "runs").exists(), words


def test_half_written_files_of_a_killed_step_are_no_result(copied_run: Path, initpools: Initpools) -> None:
    initpools("select-pool", "kcenter", "--budget", 4)
    folder = copied_run / "runs/digits/pool/kcenter-b4-s0"
    digest = tomli.loads((folder / "step.toml").read_text())["digest"]
    shutil.rmtree(folder)
    scratch = copied_run / "runs/digits/.partial/pool/kcenter-b4-s0"
    (scratch / "work").mkdir(parents=True)
    (scratch / "digest").write_text(digest)
    (scratch / ".indices.npy.abc").write_text("half")
    (scratch / "indices.npy").write_text("half")
    assert initpools("select-pool", "kcenter", "--budget", 4).code == 0
    assert {path.name for path in folder.iterdir()} == {
        "card.toml", "indices.npy", "items.csv", "represents.npy", "step.toml",
    }  # fmt: skip
    assert len(np.load(folder / "indices.npy")) == 4


def test_a_step_sealed_but_not_named_is_rescued(copied_run: Path, initpools: Initpools) -> None:
    initpools("select-pool", "kcenter", "--budget", 4)
    folder = copied_run / "runs/digits/pool/kcenter-b4-s0"
    scratch = copied_run / "runs/digits/.partial/pool/kcenter-b4-s0"
    scratch.parent.mkdir(parents=True, exist_ok=True)
    digest = tomli.loads((folder / "step.toml").read_text())["digest"]
    folder.rename(scratch)
    (scratch / "digest").write_text(digest)
    again = initpools("select-pool", "kcenter", "--budget", 4)
    assert "already done" in again.err and folder.exists() and not scratch.exists()


def test_a_closed_pipe_is_no_error(copied_run: Path) -> None:
    command = f"{sys.executable} -m initpools_cli.cli.app rank random | head -1"
    ended = subprocess.run(
        command, shell=True, capture_output=True, text=True, cwd=copied_run, env=os.environ, check=False
    )
    assert "Traceback" not in ended.stderr and len(ended.stdout.splitlines()) == 1


def test_pretexts_all_run_through_the_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initpools: Initpools
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    arrays = {"train_images": rng.integers(0, 256, (120, 16, 16), dtype=np.uint8), "train_labels": np.arange(120) % 3}
    np.savez("few.npz", **arrays)
    for name in pretexts.names():
        fast = ["--set", "pretrain.epochs=1", "--set", "pretrain.width=0.25", "--set", "dataset.imbalance=exp"]
        assert initpools("pretrain", name, "--dataset", "few.npz", *fast).code == 0
        assert initpools("embed", name).code == 0
        if name in score_names():
            assert initpools("select-pool", name, "--budget", 3, "--set", "order=lowest").code == 0


def test_a_backbone_reads_the_original_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initpools: Initpools
) -> None:
    import torch
    from PIL import Image
    from torchvision.models import squeezenet1_1

    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    torch.save(squeezenet1_1().state_dict(), "weights.pth")
    Path("photos").mkdir()
    for name, size in (("a.png", 40), ("b.png", 300), ("c.png", 64)):
        pixels = np.random.default_rng(size).integers(0, 256, (size, size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(f"photos/{name}")
    Image.open("photos/c.png").convert("L").save("photos/d.png")
    deep = 100 + 2 * np.asarray(Image.open("photos/d.png")).astype(np.uint16)
    Image.fromarray(deep).save("photos/e.png")
    words = ["embed", "squeezenet1_1", "--weights", "weights.pth", "--dataset", "photos"]
    words += ["--set", "dataset.scale=100,610"]
    assert initpools(*words).code == 0
    embeddings = np.load("runs/photos/embed/squeezenet1_1/train.npy")
    assert embeddings.shape == (5, 512) and len(np.unique(embeddings[:, 0])) == 4
    # By the range of the data set, the values of 16 bits are those of d.png.
    assert np.array_equal(embeddings[3], embeddings[4])
    Path("photos/b.png").unlink()
    lost = initpools(*words, "--force")
    assert lost.code == 2 and "1 image is missing in " in lost.err and "photos: b.png.\n" in lost.err
