"""One small pretrained run of the digits that tests of commands share, and a way to run a command line."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import settings
from user_errors import checked
from visits import browser, visit

from initpools_cli.cli.app import run as run_command_line
from initpools_cli.cli.options import SHARED
from initpools_cli.core.registry import Method

if TYPE_CHECKING:
    from initpools_cli.pretext.base import Pretext

__all__ = ["browser", "visit"]

# Properties are of what is computed, and never of how long it takes.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

FAST = ["--set", "pretrain.epochs=2", "--set", "pretrain.width=0.25", "--set", "hidden=32", "--set", "out=16"]


def pytest_configure(config: pytest.Config) -> None:
    """Keep each process of pytest-xdist on one core, unless it shares its cores with a browser.

    Threads of several processes on the same cores wait for each other several times longer than they compute.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if worker and config.option.markexpr != "browser" and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})


#: Files that take longest, whatever their number of tests. A process that gets one of them last leaves a core idle.
LONG = (
    *("test_strategies", "test_commands", "test_bad_input", "test_docs", "test_loop", "test_processes", "test_pretext"),
    "test_sweeps",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest; `make test` keeps this order."""
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))


def pytest_collection_finish() -> None:
    """Keep the thousands of tests and their modules out of garbage collections, which would visit them each time."""
    gc.collect()
    gc.freeze()


@dataclass(frozen=True)
class Outcome:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


Initpools = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def user_errors() -> Iterator[None]:
    """Every error that a test provokes has two lines, shows the value, and ends with something to type or to do."""
    with checked() as faults:
        yield
    assert not faults, "\n".join(faults)


@pytest.fixture
def initpools(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Initpools:
    """Run a command line in this process: ``initpools("embed", "--run", run)``."""

    def command(*arguments: object) -> Outcome:
        capsys.readouterr()
        words = [str(argument) for argument in arguments]
        # Steps record the command line of their process.
        monkeypatch.setattr(sys, "argv", ["initpools", *words])
        code = run_command_line(words)
        output = capsys.readouterr()
        return Outcome(code, output.out, output.err)

    return command


@pytest.fixture(scope="session", autouse=True)
def data_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Caches go into the tests' own folder, and no run is taken from the environment."""
    home = tmp_path_factory.mktemp("data")
    before = dict(os.environ)
    os.environ["INITPOOLS_DATA"] = str(home)
    os.environ.pop("INITPOOLS_RUN", None)
    # No weights of this machine, and none from the network.
    os.environ |= {"TORCH_HOME": str(home / "torch"), "HF_HOME": str(home / "hf"), "HF_HUB_OFFLINE": "1"}
    os.environ.pop("HF_HUB_CACHE", None)
    # Processes that tests start compile each module once.
    os.environ["PYTHONPYCACHEPREFIX"] = str(home / "pycache")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    yield home
    os.environ.clear()
    os.environ.update(before)


def asked_by(method: Method, n: int) -> dict[str, np.ndarray]:
    """Arrays that a pretext task's signature asks for, made up: the next two of n images as an image's neighbors."""
    there = {"nearest": (np.arange(n)[:, None] + [1, 2]) % n}
    return {name: array for name, array in there.items() if name in method.inputs}


def untrained(
    name: str, *, images: int = 24, channels: int = 1, size: int = 16, network: str = "", **knobs: object
) -> Pretext:
    """A pretext task with its defaults but for the knobs given, on a network of a quarter of the width."""
    from initpools_cli.pretext.registry import pretexts
    from initpools_cli.steps.encoder import build

    method = pretexts.get(name)
    table = {
        "method": name,
        "network": network or method.build.network,
        "width": 0.25,
        "seed": 0,
        "augment": method.build.recipe_default,
        "params": method.validate(knobs),
    }
    return build(table, channels, size, **asked_by(method, images))


def process(*arguments: object, cwd: Path, **environment: str) -> subprocess.Popen[str]:
    """Start a command line in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "initpools_cli.cli.app", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def on_one_thread(words: Sequence[object]) -> list[object]:
    """The words of a command line, with one thread if the command computes anything."""
    return [*words, "--threads", "1"] if "threads" in SHARED.get(str(words[0]), ("threads",)) else [*words]


def run_in(folder: Path, *commands: list[str]) -> None:
    """Run command lines in a folder, with one thread and without messages."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for command in commands:
            words = [*map(str, on_one_thread(command)), "--quiet"]
            patch.setattr(sys, "argv", ["initpools", *words])
            assert run_command_line(words) == 0, words


@pytest.fixture(scope="session")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``runs/digits``: SimCLR pretrained for two epochs, and embedded. Never written to again."""
    folder = tmp_path_factory.mktemp("pretrained")
    run_in(folder, ["pretrain", "simclr", "--dataset", "digits", *FAST], ["embed"])
    return folder


@pytest.fixture(scope="session")
def pretrained_with_dynamics(pretrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pretrained run with two epochs of training dynamics (``score.epochs=2``). Never written to again."""
    folder = tmp_path_factory.mktemp("dynamics")
    shutil.copytree(pretrained / "runs", folder / "runs")
    run_in(folder, ["score", "el2n", "--set", "score.epochs=2"])
    shutil.rmtree(folder / "runs/digits/score")
    return folder


@pytest.fixture
def quick_classifier(monkeypatch: pytest.MonkeyPatch) -> None:
    """Classifiers on images are trained for six epochs in place of twenty or more."""
    from initpools_cli.training import trainer

    def quick(epochs: int, steps: int, *others: object) -> trainer.TrainConfig:
        return trainer.TrainConfig(min(epochs, 6), 0, *others)  # type: ignore[arg-type]

    monkeypatch.setattr("initpools_cli.training.learners.scratch.TrainConfig", quick)


@pytest.fixture
def run_with_dynamics(pretrained_with_dynamics: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the run with training dynamics to work in; it is the current folder."""
    shutil.copytree(pretrained_with_dynamics / "runs", tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def copied_run(pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the pretrained run to work in; it is the current folder."""
    shutil.copytree(pretrained / "runs", tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    return tmp_path
