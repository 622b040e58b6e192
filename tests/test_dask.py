"""Passes over embeddings on a Dask cluster: the picks of one process, and what happens when workers die."""

from __future__ import annotations

import os
from pathlib import Path

import dask
import numpy as np
import pytest
from conftest import Initpools
from distributed import Client, LocalCluster
from plain import QUICK

from initpools_cli.core.cluster import DaskExecutor, dask_executor, refuse_other_versions
from initpools_cli.core.errors import UserError
from initpools_cli.geometry import rows
from initpools_cli.geometry.rows import on_executor
from initpools_cli.scores.registry import scores
from initpools_cli.steps.evaluate import evaluate
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.select import choose

SCORES = [method.name for method in scores if method.traits.distributed]
BY_ROWS = [method.name for method in strategies if method.traits.by_rows]


@pytest.fixture(scope="module", params=[2, 3])
def cluster(request):
    """A cluster of threads."""
    with LocalCluster(
        n_workers=request.param, threads_per_worker=1, processes=False, dashboard_address=":0", silence_logs=40
    ) as started:
        yield started


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """A memory map of float16 rows with a copy and a zero row, read in several parts."""
    monkeypatch.setattr(rows, "PART", 2048)
    monkeypatch.chdir(tmp_path)
    points = np.random.default_rng(0).normal(size=(5000, 8)).astype(np.float16)
    points[7], points[9] = points[3], 0
    np.save(tmp_path / "points.npy", points)
    return np.load(tmp_path / "points.npy", mmap_mode="r")


@pytest.mark.parametrize("name", BY_ROWS)
def test_a_cluster_chooses_what_one_process_chooses(name, cluster, stored):
    settings = {"labeled": [3, 50], "exclude": np.arange(100, 2000, 3), "knobs": QUICK.get(name)}
    alone = choose(name, {"embeddings": np.array(stored)}, 12, **settings)
    with Client(cluster) as client:
        executor, calls = DaskExecutor(client, "here"), []
        monitored = type("Monitored", (), {"map": lambda _, f, jobs: calls.append(f) or executor.map(f, jobs)})()
        with on_executor(monitored):
            found = choose(name, {"embeddings": stored}, 12, **settings)
    assert calls
    np.testing.assert_array_equal(found.indices, alone.indices)
    if alone.scores is not None:
        np.testing.assert_array_equal(found.scores, alone.scores)


@pytest.mark.parametrize("name", SCORES)
def test_a_cluster_computes_the_scores_of_one_process(name, cluster, stored):
    method = scores.get(name)
    settings = (method.validate({}), True, 0)
    alone = evaluate(method, {"embeddings": np.array(stored)}, *settings)
    with Client(cluster) as client, on_executor(DaskExecutor(client, "here")):
        found = evaluate(method, {"embeddings": stored}, *settings)
    np.testing.assert_array_equal(found, alone)


def test_a_command_on_a_cluster_writes_the_same_files(cluster, stored, initpools: Initpools) -> None:
    assert initpools("select-pool", "kcenter", "--embeddings", "points.npy", "--budget", 9, "-o", "a.csv").code == 0
    scheduler = ["--backend", "dask", "--scheduler", cluster.scheduler_address]
    words = ["select-pool", "kcenter", "--embeddings", "points.npy", "--budget", 9, "-o", "b.csv"]
    assert initpools(*words, *scheduler).code == 0
    assert Path("a.csv").read_bytes() == Path("b.csv").read_bytes()
    assert initpools("rank", "kmeans", "--embeddings", "points.npy", "--depth", 5, "-o", "c.npy").code == 0
    assert initpools("rank", "kmeans", "--embeddings", "points.npy", "--depth", 5, "-o", "d.npy", *scheduler).code == 0
    assert Path("c.npy").read_bytes() == Path("d.npy").read_bytes()
    words = ["score", "prototypicality", "--embeddings", "points.npy", "-o"]
    assert initpools(*words, "e.npy").code == initpools(*words, "f.npy", *scheduler).code == 0
    assert Path("e.npy").read_bytes() == Path("f.npy").read_bytes()
    refused = initpools("score", "outlier", "--embeddings", "points.npy", *scheduler)
    assert refused.code == 2 and "--backend dask has no effect on 'outlier'" in refused.err


def test_a_cluster_selects_from_partitions(cluster, stored, initpools: Initpools) -> None:
    words = ["select-pool", "facility-location", "--embeddings", "points.npy", "--budget", 9, "--partitions", 5, "-o"]
    assert initpools(*words, "a.csv").code == 0
    assert initpools(*words, "b.csv", "--backend", "dask", "--scheduler", cluster.scheduler_address).code == 0
    assert Path("a.csv").read_bytes() == Path("b.csv").read_bytes()


def _die_once(place: str, value: int) -> int:
    if value == 2 and not Path(place).exists():
        Path(place).write_text("died")
        os._exit(1)
    return value


def _die(value: int) -> int:
    os._exit(1)


def test_a_killed_worker_costs_its_calls_only(tmp_path):
    # With the default of three deaths the test would wait for three more processes to start.
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50) as started,
        Client(started) as client,
    ):
        executor, place = DaskExecutor(client, "here"), str(tmp_path / "place")
        assert executor.map(_die_once, [(place, value) for value in range(6)]) == list(range(6))
        assert Path(place).exists()
        with pytest.raises(UserError, match="Several workers of here died with the same block of rows"):
            executor.map(_die, [(1,)])


def test_a_lost_scheduler_is_named(tmp_path):
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0") as started:
        client = Client(started)
    with pytest.raises(UserError, match="The connection to the scheduler here was lost"):
        DaskExecutor(client, "here").map(_die_once, [("", 1)])
    client.close()


def test_workers_have_the_same_version(cluster):
    with dask_executor(cluster.scheduler_address, 1) as executor:
        assert executor.map(str, [(1,), (2,)]) == ["1", "2"]
    refuse_other_versions({"a": "1.0"}, "1.0")
    with pytest.raises(UserError, match=r"The worker b has initpools 0\.9, and this process 1\.0"):
        refuse_other_versions({"a": "1.0", "b": "0.9"}, "1.0")


@pytest.mark.parametrize(
    ("words", "fact"),
    [
        (["--backend", "dask", "--scheduler", "127.0.0.1:9"], "There is no Dask scheduler at 127.0.0.1:9"),
        (["--backend", "spark"], "--backend spark is not valid"),
        (["--scheduler", "127.0.0.1:9"], "--scheduler 127.0.0.1:9 needs a cluster"),
    ],
)
def test_what_is_no_cluster_is_refused(words, fact, stored, initpools: Initpools) -> None:
    refused = initpools("select-pool", "kcenter", "--embeddings", "points.npy", "--budget", 3, *words)
    assert refused.code == 2 and fact in refused.err


def test_a_strategy_that_reads_all_rows_at_once_is_refused(stored, initpools: Initpools) -> None:
    refused = initpools("select-pool", "maxherding", "--embeddings", "points.npy", "--budget", 3, "--backend", "dask")
    assert refused.code == 2
    assert "--backend dask has no effect on 'maxherding'" in refused.err and "kcenter" in refused.err
