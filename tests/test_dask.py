"""Passes over embeddings on a Dask cluster: the picks of one process, and what happens when workers die."""

from __future__ import annotations

import contextlib
import os
from functools import partial
from pathlib import Path

import dask
import numpy as np
import pytest
from conftest import Initpools
from distributed import Client, LocalCluster
from plain import QUICK

from initpools_cli.core.call_log import MAGIC, CallLog
from initpools_cli.core.cluster import RESUME, DaskExecutor, dask_executor, refuse_other_versions
from initpools_cli.core.errors import UserError
from initpools_cli.datasets.cache import data_home
from initpools_cli.geometry import rows
from initpools_cli.geometry.resumable import ResumableExecutor
from initpools_cli.geometry.rows import on_executor
from initpools_cli.scores.registry import scores
from initpools_cli.steps.evaluate import evaluate
from initpools_cli.steps.unfinished_calls import folder_of
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
            selection = choose(name, {"embeddings": stored}, 12, **settings)
    assert calls
    np.testing.assert_array_equal(selection.indices, alone.indices)
    if alone.scores is not None:
        np.testing.assert_array_equal(selection.scores, alone.scores)


@pytest.mark.parametrize("name", SCORES)
def test_a_cluster_computes_the_scores_of_one_process(name, cluster, stored):
    method = scores.get(name)
    settings = (method.validate({}), True, 0)
    alone = evaluate(method, {"embeddings": np.array(stored)}, *settings)
    with Client(cluster) as client, on_executor(DaskExecutor(client, "here")):
        values = evaluate(method, {"embeddings": stored}, *settings)
    np.testing.assert_array_equal(values, alone)


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


class Lost(Exception):
    """Stands for a lost scheduler."""


class Counting:
    """Calls functions in this process; is lost after some of them."""

    def __init__(self, most=10**9):
        self.calls, self.most = 0, most

    def completed(self, function, jobs):
        for number, job in enumerate(jobs):
            if self.calls == self.most:
                raise Lost
            self.calls += 1
            yield number, function(*job)


def _never(message):
    raise AssertionError(message)


def _chosen(name, stored, executor, log):
    knobs = {"n_clusters": 20} if name == "hierarchical-kmeans" else {}
    with (
        contextlib.closing(CallLog(log, 1 << 30, _never)) as calls,
        on_executor(ResumableExecutor(executor, calls)),
    ):
        if name in SCORES:
            method = scores.get(name)
            return evaluate(method, {"embeddings": stored}, method.validate({}), True, 0)
        partitions = 1 if name in BY_ROWS else 4
        return choose(name, {"embeddings": stored}, 12, labeled=[3, 50], partitions=partitions, knobs=knobs).indices


@pytest.mark.parametrize("name", [*BY_ROWS, *SCORES, "facility-location", "log-det"])
def test_an_interrupted_command_repeats_no_call(name, stored, tmp_path):
    whole = Counting()
    expected = _chosen(name, stored, whole, tmp_path / "whole")
    first, rest = Counting(whole.calls * 2 // 3), Counting()
    with pytest.raises(Lost):
        _chosen(name, stored, first, tmp_path / "calls")
    np.testing.assert_array_equal(_chosen(name, stored, rest, tmp_path / "calls"), expected)
    assert first.calls + rest.calls == whole.calls
    again = Counting()
    np.testing.assert_array_equal(_chosen(name, stored, again, tmp_path / "calls"), expected)
    assert not again.calls


def test_results_of_other_embeddings_seeds_and_knobs_are_not_used(stored, tmp_path):
    def calls(points, **settings):
        executor = Counting()
        log = CallLog(tmp_path / "calls", 1 << 30, _never)
        with contextlib.closing(log), on_executor(ResumableExecutor(executor, log)):
            selection = choose("facility-location", {"embeddings": points}, 5, partitions=3, **settings)
        alone = choose("facility-location", {"embeddings": np.array(points)}, 5, partitions=3, **settings)
        np.testing.assert_array_equal(selection.indices, alone.indices)
        return executor.calls

    np.save("few.npy", stored[:600])
    few = np.load("few.npy", mmap_mode="r")
    every = calls(few)
    assert calls(few) == 0
    # Passes that check the rows do not depend on these.
    assert calls(few, seed=1) == calls(few, knobs={"similarity": "rbf"}) == 3
    times = Path("few.npy").stat()
    np.save("other.npy", np.array(few)[::-1])
    Path("other.npy").rename("few.npy")
    os.utime("few.npy", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert calls(np.load("few.npy", mmap_mode="r")) == every


def test_damaged_results_are_computed_again(tmp_path):
    path, result = tmp_path / "calls", (np.arange(9), 2.5, [np.float64(1), None, "text"])
    keys = [bytes([number]) * 20 for number in range(4)]

    def read():
        with contextlib.closing(CallLog(path, 1 << 20, _never)) as log:
            results = {}
            for key in keys:
                with contextlib.suppress(KeyError):
                    results[key] = log[key]
            return results

    with contextlib.closing(CallLog(path, 1 << 20, _never)) as log:
        for key in keys[:3]:
            log.add(key, result)
        # Reading it would call a function.
        log.add(keys[3], partial(print, "called"))
    whole = path.read_bytes()
    assert path.stat().st_mode & 0o077 == 0
    assert [*read()] == keys[:3]
    np.testing.assert_equal(read()[keys[1]], result)
    # Cut off in the middle of the second record, and then continued.
    record = (len(whole) - len(MAGIC)) // 4
    path.write_bytes(whole[: len(MAGIC) + record + 60])
    assert [*read()] == keys[:1]
    with contextlib.closing(CallLog(path, 1 << 20, _never)) as log:
        log.add(keys[2], result)
    assert [*read()] == [keys[0], keys[2]]
    for place in range(len(MAGIC), len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        for value in read().values():
            np.testing.assert_equal(value, result)
    path.write_bytes(b"not results")
    assert not read()


def test_no_more_is_kept_than_the_limit(tmp_path):
    messages = []
    with contextlib.closing(CallLog(tmp_path / "calls", 5000, messages.append)) as log:
        for number in range(9):
            log.add(bytes([number]) * 20, np.random.default_rng(number).random(100))
        assert 0 < len(log) < 9
    assert (tmp_path / "calls").stat().st_size <= 5000
    assert len(messages) == 1 and "No more unfinished work is kept" in messages[0]


def test_a_command_that_lost_its_scheduler_continues(cluster, stored, initpools: Initpools, monkeypatch) -> None:
    scheduler = ["--backend", "dask", "--scheduler", cluster.scheduler_address]
    words = ["select-pool", "kcenter", "--embeddings", "points.npy", "--budget", 9, "-o"]
    assert initpools(*words, "a.csv").code == 0
    completed, calls = DaskExecutor.completed, []

    def lost(self, function, jobs):
        for number, result in completed(self, function, jobs):
            if len(calls) == 9:
                raise UserError("The connection was lost.", RESUME, "here")
            calls.append(number)
            yield number, result

    with monkeypatch.context() as patched:
        patched.setattr(DaskExecutor, "completed", lost)
        stopped = initpools(*words, "b.csv", *scheduler)
    assert stopped.code == 2 and "type the same command again" in stopped.err and not Path("b.csv").exists()
    (file,) = folder_of(data_home()).iterdir()
    old = file.with_name("old.calls")
    old.touch()
    os.utime(old, (0, 0))
    # Another command touches only what is old.
    assert initpools(*words[:-2], 10, "-o", "c.csv", *scheduler).code == 0 and file.exists()
    assert not old.exists()
    continued = initpools(*words, "b.csv", *scheduler)
    assert continued.code == 0 and "resuming: 9 calls" in continued.err
    assert not [*file.parent.iterdir()]
    assert Path("a.csv").read_bytes() == Path("b.csv").read_bytes()


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
