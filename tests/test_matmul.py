"""Blocked products on a device: bounds, threads, and the same picks, shown on torch's own processor device."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import Initpools
from plain import QUICK

import initpools_cli
from initpools_cli.core.errors import UserError
from initpools_cli.geometry import matmul as products
from initpools_cli.geometry.chunked import available_threads, map_blocks
from initpools_cli.geometry.farthest_first import farthest_first
from initpools_cli.geometry.matmul import on_device, product
from initpools_cli.steps import context
from initpools_cli.strategies import kcenter
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.select import choose
from initpools_cli.training import device as machine

GEOMETRIC = [pytest.param(method, id=method.name) for method in strategies if "embeddings" in method.inputs]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every product goes to the device, however small, and is counted here."""
    monkeypatch.setattr(products, "FEWEST", 1)
    made: list[str] = []
    as_tensor = torch.tensor

    def counted(*args, **kwargs):
        # Modules that load on the way make tensors of their own.
        made.extend([kwargs["device"]] if "device" in kwargs else [])
        return as_tensor(*args, **kwargs)

    monkeypatch.setattr(torch, "tensor", counted)
    return made


def clouds(n: int = 400, d: int = 12) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.normal(size=(9, d))[rng.integers(0, 9, n)] + 0.5 * rng.normal(size=(n, d))).astype(np.float32)


@pytest.mark.parametrize("method", GEOMETRIC)
def test_a_device_chooses_the_same_images(method, calls):
    points = clouds()
    rng = np.random.default_rng(1)
    inputs = {
        "embeddings": points,
        "probs": rng.dirichlet(np.ones(3), size=len(points)),
        "labels": rng.integers(0, 3, len(points)),
        "scores": rng.normal(size=len(points)),
        "features": points,
        "head": rng.normal(size=(points.shape[1] + 1, 3)),
        "query_set": points[:5],
    }
    for settings in ({"labeled": [3, 4]}, {"balance": "kmeans", "n_clusters": 3}):
        options = {**settings, "knobs": QUICK.get(method.name)}
        here = choose(method.name, inputs, 30, **options)
        assert not calls
        with on_device("cpu"):
            there = choose(method.name, inputs, 30, **options)
        np.testing.assert_array_equal(here.indices, there.indices)
        if "balance" in options:
            assert set(calls) == {"cpu"}
        calls.clear()


def test_threads_use_the_device_of_who_called_them(calls):
    a = clouds()
    with on_device("cpu"):
        parts = map_blocks(lambda span: product(a[span], a.T), len(a), 50, threads=2)
    assert len(calls) == 2 * len(parts)
    np.testing.assert_allclose(np.concatenate(parts), a @ a.T, atol=1e-4)
    map_blocks(lambda span: product(a[span], a.T), len(a), 50, threads=2)
    assert len(calls) == 2 * len(parts)


def test_a_device_is_given_float32_only_and_multiplies_in_it(calls, tmp_path):
    a = clouds()
    np.save(tmp_path / "a.npy", a)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    torch.set_float32_matmul_precision("medium")
    try:
        with on_device("cpu"):
            assert torch.get_float32_matmul_precision() == "highest"
            assert product(mapped[:3], mapped.T).flags.writeable
            assert calls == ["cpu"] * 2
            assert product(a.astype(np.float64), a.T.astype(np.float64)).dtype == np.float64
            assert calls == ["cpu"] * 2
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_few_rows_are_not_worth_the_way(calls, monkeypatch):
    monkeypatch.setattr(products, "FEWEST", 64)
    with on_device("cpu"):
        product(clouds(63), clouds(400).T)
        assert not calls
        product(clouds(64), clouds(400).T)
    assert calls


def test_choosing_on_the_processor_loads_no_torch():
    code = (
        "import sys, numpy, initpools_cli; initpools_cli.select(numpy.eye(9), 'kcenter', 3); "
        "print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("command", ["select-pool kcenter --budget 2", "rank kcenter", "score typicality"])
def test_a_gpu_that_is_not_there_is_refused(initpools: Initpools, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    np.save("emb.npy", clouds(30))
    with_run = [*command.split(), "--dataset", "digits", "--embeddings", "digits.npy"]
    np.save("digits.npy", clouds(1797, 4))
    for words in ([*command.split(), "--embeddings", "emb.npy"], with_run):
        refused = initpools(*words, "--device", "cuda")
        assert refused.code == 2
        assert "run.device = 'cuda' is not available: torch" in refused.err
        assert "pytorch.org" in refused.err
        assert not refused.out
        assert not list(tmp_path.glob("runs/*/*"))


def test_select_knows_its_devices():
    points = clouds(30)
    chosen = initpools_cli.select(points, "kcenter", 3, device="cpu")
    np.testing.assert_array_equal(chosen, initpools_cli.select(points, "kcenter", 3))
    with pytest.raises(UserError, match="device = 'gpu' is not valid"):
        initpools_cli.select(points, "kcenter", 3, device="gpu")


def test_threads_hold_without_a_run(initpools: Initpools, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("emb.npy", clouds(30))
    seen = []
    build = farthest_first
    monkeypatch.setattr(kcenter, "farthest_first", lambda *args: seen.append(available_threads()) or build(*args))
    assert initpools("select-pool", "kcenter", "--budget", 2, "--embeddings", "emb.npy", "--threads", 1).code == 0
    assert seen == [1]


@pytest.mark.parametrize("command", ["select-pool usl --budget 9", "rank kcenter", "score typicality"])
def test_commands_hand_their_products_to_the_gpu(initpools: Initpools, calls, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(context, "gpu", lambda device: "cpu" if device == "cuda" else None)
    monkeypatch.setattr(machine, "resolve_device", lambda device: "cpu")
    np.save("emb.npy", clouds(1797))
    for where in ([], ["--dataset", "digits"]):
        here = initpools(*command.split(), *where, "--embeddings", "emb.npy", "--json")
        assert here.code == 0, here.err
        assert not calls
        words = [*command.split(), *where, "--embeddings", "emb.npy", "--json", "--force", "--device", "cuda"]
        there = initpools(*words)
        assert there.code == 0, there.err
        assert calls
        calls.clear()
        if not where:
            assert there.out == here.out


def test_a_product_that_overflows_is_reported() -> None:
    with pytest.warns(RuntimeWarning, match="overflow"):
        product(np.full((2, 3), 1e30, np.float32), np.full((3, 2), 1e30, np.float32))
