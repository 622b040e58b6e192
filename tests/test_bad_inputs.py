"""What users, disks and other programs can hand over: each ends in one message of two sentences, never a traceback."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tomli
from conftest import Initpools
from user_errors import refused

from initpools_cli.core import capacity as room
from initpools_cli.core.checked_toml import read_checked_toml, write_checked_toml
from initpools_cli.core.errors import UserError
from initpools_cli.core.files import read_file
from initpools_cli.core.reporter import Reporter
from initpools_cli.core.system_errors import system_error
from initpools_cli.datasets.annotations import cvat
from initpools_cli.geometry.knn import knn
from initpools_cli.geometry.sparse import nearby_similarities
from initpools_cli.strategies.bait import bait
from initpools_cli.training.experiment import OutputCounts
from initpools_cli.training.model_outputs import compute_outputs


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current one, with embeddings in it."""
    monkeypatch.chdir(tmp_path)
    np.save("e.npy", np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32))
    return tmp_path


# ---- files


def test_a_link_to_a_regular_file_is_read(here: Path, initpools: Initpools) -> None:
    (here / "link.npy").symlink_to("e.npy")
    assert initpools("select-pool", "kmeans", "--budget", 2, "--embeddings", "link.npy").code == 0


def test_a_file_that_grows_past_the_bound_is_refused(here: Path) -> None:
    (here / "x.csv").write_bytes(b"x" * 11)
    assert read_file(here / "x.csv", "--labels", most=11) == b"x" * 11
    with pytest.raises(UserError, match=r"--labels\) is larger than the limit of 10 bytes"):
        read_file(here / "x.csv", "--labels", most=10)


# ---- annotations


def test_an_archive_that_unpacks_to_too_much_is_refused(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cvat, "LARGEST", 1 << 20)
    with zipfile.ZipFile("x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.xml", bytes(2 << 20))
    with pytest.raises(UserError, match="larger than 1 MiB"):
        cvat.read(here / "x.zip", "--labels")


# ---- runs


STEPS = {
    "writes": "3",
    "reads": '["x"]',
    "finished": "1",
    "started": '"yesterday"',
    "table": "[]",
    "outcome": '"x"',
    "renew": '"x"',
    "digest": "1",
    "command": "{}",
}


@pytest.mark.parametrize("key", STEPS)
def test_a_step_of_wrong_types_is_named(key: str, here: Path, initpools: Initpools) -> None:
    assert initpools("select-pool", "random", "--budget", 2, "--dataset", "digits", "-q").code == 0
    file = next(here.glob("runs/digits/pool/*/step.toml"))
    facts = read_checked_toml(file, "") | {key: tomli.loads(f"x = {STEPS[key]}")["x"]}
    write_checked_toml(file, facts)
    for words in (
        ["compare", "random-b2-s0", "random-b2-s0"],
        ["select-pool", "random", "--budget", 2],
        ["plot", "gallery"],
    ):
        refused(initpools(*words), "step.toml is damaged", key)
    assert initpools("status").code in (0, 2) and initpools("verify").code == 2


@pytest.mark.parametrize(
    "content", ["dataset = 3\nrun = 1", "[dataset]\nname = 3\n[run]\nseed = 0", "", "x = " + "[" * 900]
)
def test_a_run_of_wrong_types_is_named(content: str, here: Path, initpools: Initpools) -> None:
    (here / "runs/x").mkdir(parents=True)
    (here / "runs/x/run.toml").write_text(content)
    for words in (["status"], ["select-pool", "random", "--budget", 2], ["rank", "random"]):
        refused(initpools(*words, "--run", "runs/x"), "run.toml")
    result = initpools("verify", "--run", "runs/x")
    assert result.code == 2 and "run.toml" in result.out and "Traceback" not in result.err


def test_what_the_last_run_was_is_a_path(here: Path, initpools: Initpools) -> None:
    (here / "runs").mkdir()
    with (here / "runs/.last").open("wb") as stream:
        stream.truncate(1 << 40)
    refused(initpools("status"), "runs/.last is damaged")
    (here / "runs/.last").write_text("x" * 500)
    refused(initpools("status"), "name too long")


# ---- what the system reports


@pytest.mark.parametrize(
    "number", ["EIO", "EMFILE", "ENFILE", "ENAMETOOLONG", "ELOOP", "ESTALE", "ENOTDIR", "ENOSPC", "EBUSY"]
)
def test_every_error_of_the_system_has_a_remedy(number: str) -> None:
    code = getattr(errno, number)
    user_error = system_error(OSError(code, os.strerror(code), "data/x.npy"))
    assert user_error is not None and "data/x.npy" in user_error.fact and user_error.remedy
    assert system_error(ValueError("x")) is None


def test_an_error_of_any_file_call_names_the_file(
    here: Path, initpools: Initpools, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: Path, *args: object, **kwargs: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(self))

    monkeypatch.setattr(Path, "open", fails)
    refused(initpools("select-pool", "kmeans", "--budget", 2, "--embeddings", "e.npy"), "e.npy", "Input/output error")


def test_too_little_memory_is_said(here: Path, initpools: Initpools, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: Reporter, text: str) -> None:
        raise MemoryError("Unable to allocate 14.9 GiB")

    monkeypatch.setattr(Reporter, "say", fails)
    refused(initpools("select-pool", "kmeans", "--budget", 2, "--embeddings", "e.npy"), "14.9 GiB")


class Sure:
    """A classifier of two classes, as far as it is asked."""

    def logits(self, inputs: np.ndarray) -> np.ndarray:
        return np.zeros((len(inputs), 2))


def ask_often(points: np.ndarray) -> None:
    compute_outputs(Sure(), points, {"mc_probs"}, OutputCounts(passes=9_000), 0, lambda count: [])  # type: ignore[arg-type]


LARGE = {
    "nearest": lambda points: knn(points, 20),
    "similarities": lambda points: nearby_similarities(points, "cosine", 1.0, 20),
    "bait": lambda points: bait(points, np.full((40, 9), 1 / 9), np.arange(3), 2, components=4),
    "answers": ask_often,
}


@pytest.mark.parametrize("kind", LARGE)
def test_memory_is_estimated_before_it_is_taken(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    points = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    monkeypatch.setattr(room, "free_memory", lambda: 5000.0)
    with pytest.raises(UserError, match=r"kB of memory|MB of memory") as caught:
        LARGE[kind](points)
    assert "but only 5.0 kB are free" in caught.value.fact and caught.value.remedy


# ---- the process: streams, the working folder, signals


STREAMS = {
    "closed output": (">&-", 2, "Standard output can't be written"),
    "full output": (">/dev/full", 2, "No space left on device"),
    "closed messages": ("2>&-", 0, ""),
    "full messages": ("2>/dev/full", 0, ""),
    "nothing open": ("<&- >&- 2>&-", 2, ""),
    "an early end": ("| (exec <&-)", 0, ""),
}


def shell(command: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )


@pytest.mark.parametrize("kind", STREAMS)
def test_streams_that_are_closed_or_full(kind: str, here: Path) -> None:
    redirected, code, words = STREAMS[kind]
    ended = shell(f"{sys.executable} -m initpools_cli.cli.app --help {redirected}", here)
    assert ended.returncode == code and words in ended.stderr and "Traceback" not in ended.stderr, ended.stderr


def test_a_removed_working_folder_is_said(here: Path) -> None:
    (here / "gone").mkdir()
    ended = shell(f"cd gone; rmdir ../gone; {sys.executable} -m initpools_cli.cli.app status", here)
    assert ended.returncode == 2 and "The current folder has been removed." in ended.stderr


def test_names_that_the_terminal_can_not_show(here: Path) -> None:
    """They are what a command goes on with, so that they leave as UTF-8."""
    (here / "photos").mkdir()
    from PIL import Image

    for name in "éü":
        Image.new("L", (4, 4), ord(name)).save(here / f"photos/{name}.png")
    words = f"{sys.executable} -m initpools_cli.cli.app select-pool random --budget 2 --dataset photos -q"
    ended = shell(words, here, PYTHONIOENCODING="ascii", LC_ALL="C", COLUMNS="20")
    assert ended.returncode == 0 and sorted(ended.stdout.split()) == ["é.png", "ü.png"]


def test_an_argument_that_is_not_utf_8_is_refused(here: Path, initpools: Initpools) -> None:
    for words in (["label", "--classes", "\udcff,b"], ["select-pool", "random", "--dataset", "x\udcff"]):
        refused(initpools(*words), "is not valid UTF-8")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_program_is_loaded(number: signal.Signals, here: Path) -> None:
    """At the first moment that is ours: before that, Python itself answers."""
    code = """
import os, sys, time

class Slow:
    def find_spec(self, name, path, target=None):
        if name == "typer":
            os.write(1, b"x")
            time.sleep(60)

sys.meta_path.insert(0, Slow())
from initpools_cli.cli.app import main
main()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=here
    ) as run:
        assert run.stdout is not None and run.stderr is not None
        run.stdout.read(1)
        run.send_signal(number)
        stderr = run.stderr.read().decode()
    assert run.returncode == 128 + number and stderr.startswith("interrupted."), stderr
