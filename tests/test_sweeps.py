"""Whole sweeps: on other engines, over encoders, to the end of the pool, strict, and in the middle."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tomli
from conftest import Initpools

from initpools_cli.core.errors import UserError
from initpools_cli.sweeps.results import NUMBERS

SMALL = ["al-run", "--init", "random,kcenter", "--query", "random,margin", "--budget", 5, "--rounds", 2, "--seeds", 3]


def rounds_of(run: Path, name: str) -> pd.DataFrame:
    blank = {column: [""] for column in NUMBERS}
    return pd.read_csv(run / "runs/digits/al" / name / "rounds.csv", keep_default_na=False, na_values=blank)


def with_a_strategy_of_a_file() -> list[object]:
    """The sweep with a first pool by ``./mine.py:last``, which the workers are sent."""
    own = "def last(n, labeled, budget):\n    return [i for i in range(n) if i not in set(labeled)][-budget:]\n"
    Path("mine.py").write_text(own)
    return [*SMALL[:2], "random,./mine.py:last", *SMALL[3:]]


@pytest.mark.slow
def test_a_dask_cluster_of_two_workers_writes_the_same_bytes(copied_run: Path, initpools: Initpools) -> None:
    from distributed import Client, LocalCluster

    words = with_a_strategy_of_a_file()
    assert initpools(*words, "--threads", 1, "--name", "here").code == 0
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        there = initpools(*words, "--backend", "dask", "--scheduler", cluster.scheduler_address, "--name", "there")
        assert there.code == 0, there.err
        assert len(client.scheduler_info()["workers"]) == 2
    for file in ("rounds.csv", "recalls.csv", "picks.npz"):
        one, other = (copied_run / "runs/digits/al" / name / file for name in ("here", "there"))
        assert one.read_bytes() == other.read_bytes()


def test_an_engine_that_is_not_there_is_said(copied_run: Path, initpools: Initpools) -> None:
    ended = initpools(*SMALL, "--backend", "dask", "--scheduler", "tcp://127.0.0.1:9")
    assert ended.code == 2 and "no Dask scheduler at tcp://127.0.0.1:9" in ended.err
    assert not (copied_run / "runs/digits/al").exists()


def test_processes_write_what_one_thread_writes(
    copied_run: Path, initpools: Initpools, monkeypatch: pytest.MonkeyPatch
) -> None:
    from initpools_cli.sweeps import executors as workers

    # After the first block, however little is left.
    monkeypatch.setattr(workers, "MIN_SECONDS", 0.0)
    words = with_a_strategy_of_a_file()
    for threads in (1, 2):
        assert initpools(*words, "--threads", threads, "--name", f"t{threads}").code == 0
    for file in ("rounds.csv", "recalls.csv", "picks.npz"):
        one, two = (copied_run / "runs/digits/al" / name / file for name in ("t1", "t2"))
        assert one.read_bytes() == two.read_bytes()


def test_a_sweep_stops_where_the_pool_ends_and_says_so(copied_run: Path, initpools: Initpools) -> None:
    ended = initpools("al-run", "--budget", 400, "--rounds", 9, "--seeds", 1, "--threads", 1)
    assert ended.code == 0 and "stops after round 2 of 9, with 1200 labels: 94 of the 1294 candidates" in ended.err
    assert rounds_of(copied_run, "main")["labeled"].tolist() == [400, 800, 1200]


def test_every_encoder_is_an_arena_of_its_own(copied_run: Path, initpools: Initpools) -> None:
    assert initpools("embed", "pca").code == 0
    words = ["al-run", "--init", "kcenter", "--budget", 5, "--rounds", 1, "--seeds", 2, "--threads", 1]
    assert initpools(*words, "--from", "simclr,pca", "--name", "both").code == 0
    both = rounds_of(copied_run, "both")
    for encoder in ("simclr", "pca"):
        assert initpools(*words, "--from", encoder, "--name", encoder).code == 0
        own = rounds_of(copied_run, encoder)
        assert set(own["encoder"]) == {encoder}
        pd.testing.assert_frame_equal(both[both["encoder"] == encoder].reset_index(drop=True), own)
    twice = initpools(*words, "--from", "pca,pca")
    assert twice.code == 2 and "more than once" in twice.err


def test_a_leak_is_counted_and_ends_a_strict_sweep(copied_run: Path, initpools: Initpools) -> None:
    words = ["al-run", "--query", "class-balanced", "--budget", 5, "--rounds", 1, "--seeds", 1, "--threads", 1]
    assert initpools(*words, "--name", "counted").code == 0
    assert rounds_of(copied_run, "counted")["leaks"].tolist() == [0, 1438 - 5]
    strict = initpools(*words, "--strict", "--name", "strict")
    assert strict.code == 2 and "class-balanced" in strict.err and not (copied_run / "runs/digits/al/strict").exists()
    assert initpools(*SMALL, "--strict", "--threads", 1).code == 0


def test_the_recall_of_every_class_stands_beside_the_metrics(copied_run: Path, initpools: Initpools) -> None:
    assert initpools(*SMALL, "--threads", 1).code == 0
    recalls = pd.read_csv(copied_run / "runs/digits/al/main/recalls.csv", keep_default_na=False)
    rounds = rounds_of(copied_run, "main")
    assert len(recalls) == len(rounds) and list(recalls.columns[7:]) == [str(digit) for digit in range(10)]
    np.testing.assert_allclose(recalls.iloc[:, 7:].astype(float).mean(axis=1), rounds["balanced_accuracy"], atol=1e-5)


def test_a_failing_block_costs_no_other_cell(
    copied_run: Path, initpools: Initpools, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep in which one seed always fails has, for the others, the rows of one in which none does."""
    from initpools_cli.training import active_learning as loop

    assert initpools(*SMALL, "--threads", 1, "--name", "whole").code == 0
    run_query = loop.run_query

    def breaks(query: str, learner: str, cell: Any, *rest: Any) -> Any:
        if cell.index == 1:
            raise MemoryError("none left")
        return run_query(query, learner, cell, *rest)

    monkeypatch.setattr(loop, "run_query", breaks)
    ended = initpools(*SMALL, "--threads", 1, "--name", "broken")
    assert ended.code == 0 and ended.err.count("failed in round 0: MemoryError: none left") == 4
    broken, whole = rounds_of(copied_run, "broken"), rounds_of(copied_run, "whole")
    for index in (0, 2):
        mine, theirs = (frame[frame["seed"] == index].reset_index(drop=True) for frame in (broken, whole))
        pd.testing.assert_frame_equal(mine, theirs, check_dtype=False)
    facts = tomli.loads((copied_run / "runs/digits/al/broken/step.toml").read_text())
    seconds = facts["outcome"].pop("seconds")
    assert seconds and min(seconds.values()) >= 0
    assert facts["outcome"] == {"cells": 12, "failed": 4}


def test_a_first_pool_that_fails_costs_only_its_own_cells(
    copied_run: Path, initpools: Initpools, monkeypatch: pytest.MonkeyPatch
) -> None:
    from initpools_cli.training import active_learning as loop

    assert initpools(*SMALL, "--threads", 1, "--name", "whole").code == 0
    chosen = loop.first_pool

    def breaks(init: str, index: int, *rest: Any) -> Any:
        if (init, index) == ("kcenter", 2):
            raise UserError("There is no center here.", "Look elsewhere.", "center")
        return chosen(init, index, *rest)

    monkeypatch.setattr(loop, "first_pool", breaks)
    ended = initpools(*SMALL, "--threads", 1, "--name", "broken")
    assert ended.code == 0 and ended.err.count("kcenter, seed 2 failed in round 0: There is no center here.") == 1
    broken, whole = rounds_of(copied_run, "broken"), rounds_of(copied_run, "whole")
    lost = (whole["init"] == "kcenter") & (whole["seed"] == 2)
    good = broken[broken["status"] == "ok"].reset_index(drop=True)
    pd.testing.assert_frame_equal(good, whole[~lost].reset_index(drop=True), check_dtype=False)
    assert broken["status"].eq("failed").sum() == 2


def test_what_every_seed_runs_into_ends_the_sweep(copied_run: Path, initpools: Initpools) -> None:
    ended = initpools(*SMALL, "--init", "probcover", "--set", "al.params.probcover.delta=1e-9", "--threads", 1)
    assert ended.code == 2 and "delta" in ended.err and not (copied_run / "runs/digits/al").exists()


def test_status_tells_how_far_a_sweep_is(
    copied_run: Path, initpools: Initpools, monkeypatch: pytest.MonkeyPatch
) -> None:
    from initpools_cli.sweeps import jobs as sweep

    whole = sweep._run_together

    def stops(job: Any, *rest: Any) -> Any:
        if job.query == "margin":
            raise KeyboardInterrupt
        return whole(job, *rest)

    with monkeypatch.context() as stopping:
        stopping.setattr(sweep, "_run_together", stops)
        assert initpools(*SMALL, "--threads", 1).code == 130
    status = initpools("status").out
    assert "al/main\tunfinished after 1 of 4 blocks" in status
    assert json.loads(initpools("status", "--json").out)["progress"] == {"al/main": [1, 4]}
    assert "resuming al-run with 1 of 4 blocks done" in initpools(*SMALL, "--threads", 1).err


def test_presets_and_dotted_knobs(copied_run: Path, initpools: Initpools) -> None:
    words = ["al-run", "--budget", 5, "--rounds", 0, "--seeds", 1, "--threads", 1]
    assert initpools(*words, "--set", "preset=reference", "--name", "r").code == 0
    table = tomli.loads((copied_run / "runs/digits/al/r/step.toml").read_text())["table"]["params"]["linear"]
    assert table == {"penalty": 0.1, "tolerance": 1e-9}
    dotted = [*words, "--learner", "linear,knn", "--set", "al.params.linear.penalty=1.0", "--name", "d"]
    assert initpools(*dotted).code == 0
    table = tomli.loads((copied_run / "runs/digits/al/d/step.toml").read_text())["table"]["params"]
    assert table["linear"]["penalty"] == 1.0
    wrong = initpools(*words, "--learner", "linear,knn", "--set", "al.params.mlp.epochs=1")
    assert wrong.code == 2 and "al.params.mlp" in wrong.err


def test_a_sweep_may_be_the_first_command_of_a_run(
    tmp_path: Path, initpools: Initpools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    begun = initpools("al-run", "--dataset", "digits", "--from", "pca", "--rounds", 1, "--seeds", 1, "--threads", 1)
    assert begun.code == 0, begun.err
    assert rounds_of(tmp_path, "main")["encoder"].tolist() == ["pca", "pca"]


def test_a_model_that_diverges_fails_its_cell_and_not_the_sweep(copied_run: Path, initpools: Initpools) -> None:
    """Whatever a query asks of it: the strategy's own check would end the sweep and blame the input."""
    wild = ("--learner", "mlp", "--set", "al.params.mlp.lr=1e9", "--set", "al.space=learner")
    ended = initpools(*SMALL, "--query", "margin,kcenter", *wild, "--threads", 1, "--name", "wild")
    assert ended.code == 0 and "all trials of the sweep failed" in ended.err
    rounds = rounds_of(copied_run, "wild")
    assert set(rounds["status"]) == {"failed"} and rounds["error"].str.endswith("its training has diverged").all()


def test_a_sweep_refuses_a_strategy_that_only_files_can_feed(copied_run: Path, initpools: Initpools) -> None:
    ended = initpools(*SMALL, "--init", "random,file", "--name", "fed")
    assert ended.code == 2 and "'file' needs order, which al-run cannot provide." in ended.err


def test_first_pools_follow_rankings_of_the_run(copied_run: Path, initpools: Initpools) -> None:
    assert initpools("rank", "kcenter", "--reference", "test").code == 0
    assert initpools("rank", "typicality").code == 0
    sweep = ("al-run", "--init", "random,rank/kcenter,rank/typicality", "--budget", 5, "--rounds", 0, "--seeds", 2)
    outcome = initpools(*sweep)
    assert outcome.code == 0 and "rank/kcenter was made by a classifier that was trained on the test" in outcome.err
    assert "rank/typicality was made" not in outcome.err
    run = Path("runs/digits")
    with np.load(run / "al/main/picks.npz") as stored:
        picks = {key.partition("|")[0]: [] for key in stored}
        for key in stored:
            picks[key.partition("|")[0]].append(stored[key])
    for name in ("kcenter", "typicality"):
        order = np.load(run / f"rank/{name}/sorted_idx.npy").tolist()
        for pool in picks[f"rank/{name}"]:
            places = [order.index(index) for index in pool]
            # The first five of the ranking that are candidates of the seed: 90 % of all images.
            assert places == sorted(places) and places[-1] < 20
    compared = initpools("compare", "main")
    assert "rank/kcenter: ranked with the labels of the test split" in compared.out + compared.err

    refused = initpools(*sweep, "--strict", "--name", "strict")
    assert refused.code == 2 and "rank/kcenter" in refused.err
    unknown = initpools("select-pool", "rank/entropy", "--budget", 3)
    assert unknown.code == 2 and "Use one of rank/kcenter, rank/typicality" in unknown.err
    again = initpools("rank", "rank/kcenter")
    assert again.code == 2 and "is a ranking already" in again.err
    np.save("some.npy", np.eye(6, dtype=np.float32))
    alone = initpools("select-pool", "rank/kcenter", "--embeddings", "some.npy", "--budget", 2, "-o", "picks.npy")
    assert alone.code == 2 and not Path("picks.npy").exists()


def test_a_name_that_is_neither_sweep_nor_ranking_is_said(copied_run: Path, initpools: Initpools) -> None:
    ended = initpools("compare", "nope")
    assert ended.code == 2 and "There is no pool or ranking 'nope'." in ended.err


def test_blocks_of_older_versions_are_resumed_without_predictions_of_test_images(tmp_path: Path) -> None:
    from initpools_cli.sweeps.jobs import JobResult
    from initpools_cli.sweeps.sweep import _write_correct

    row, recalls, bits = {"seed": 0, "status": "ok"}, np.array([0.5, 1]), np.packbits([True, False, True])
    new = JobResult([row], [np.arange(3)], [recalls], [np.empty(0, np.int32)], [bits])
    new.save(tmp_path / "new.npz")
    with np.load(tmp_path / "new.npz") as stored:
        np.savez(tmp_path / "old.npz", **{name: stored[name] for name in stored.files if name != "correct"})
    again, old = JobResult.load(tmp_path / "new.npz"), JobResult.load(tmp_path / "old.npz")
    assert again.correct[0].tolist() == bits.tolist() and again.rows == old.rows == [row]
    assert [len(each) for each in old.correct] == [0]
    experiment: Any = SimpleNamespace(labels={"test": np.array([1, 0, 1])})
    job: Any = None
    _write_correct(tmp_path / "mixed.npz", [(job, again), (job, old)], experiment)
    assert not (tmp_path / "mixed.npz").exists()
    _write_correct(tmp_path / "all.npz", [(job, again), (job, again)], experiment)
    with np.load(tmp_path / "all.npz") as stored:
        assert np.unpackbits(stored["correct"], axis=1, count=3).tolist() == [[1, 0, 1]] * 2
