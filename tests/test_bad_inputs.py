"""What users, disks and other programs can hand over: each ends in one message of two sentences, never a traceback."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tomli
import torch
from conftest import Initpools, Outcome

from initpools_cli.core import capacity as room
from initpools_cli.core.checked_toml import read_checked_toml, write_checked_toml
from initpools_cli.core.errors import UserError
from initpools_cli.core.files import read_array, read_file
from initpools_cli.core.reporter import Reporter
from initpools_cli.core.system_errors import system_error
from initpools_cli.datasets.annotations import cvat, folders, label_studio
from initpools_cli.geometry.knn import knn
from initpools_cli.geometry.sparse import nearby_similarities
from initpools_cli.networks.weights import read_weights
from initpools_cli.strategies.bait import bait
from initpools_cli.training.experiment import OutputCounts
from initpools_cli.training.model_outputs import compute_outputs


def refused(ended: Outcome, *words: str) -> None:
    """Exit code 2 and two sentences, of which the words are part."""
    assert ended.code == 2, ended.err
    assert "Traceback" not in ended.err and len(ended.err) < 2000
    fact, remedy = ended.err.splitlines()[-2:]
    assert fact.startswith("error: ") and remedy
    for word in words:
        assert word in ended.err, ended.err


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current one, with embeddings in it."""
    monkeypatch.chdir(tmp_path)
    np.save("e.npy", np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32))
    return tmp_path


# ---- files that are no regular files


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_socket(path: Path) -> None:
    socket.socket(socket.AF_UNIX).bind(path.name)


def a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def a_folder(path: Path) -> None:
    path.mkdir()


def a_circle(path: Path) -> None:
    path.symlink_to(path)


BRING = ["--embeddings", "--probs", "--scores", "--clusters", "--ranking", "--patches", "--labeled", "--labels"]
WORDS = {a_folder: "is a folder", a_circle: "Too many levels"}


@pytest.mark.filterwarnings("ignore:unclosed <socket")
@pytest.mark.parametrize("make", [a_pipe, a_socket, a_device, a_folder, a_circle])
@pytest.mark.parametrize("flag", [*BRING, "--config", "--dataset"])
def test_only_regular_files_are_read(flag: str, make: Callable[[Path], None], here: Path, initpools: Initpools) -> None:
    name = {"--config": "x.toml", "--dataset": "x.npz"}.get(flag, "x.npy")
    make(here / name)
    given = ["--embeddings", "e.npy"] if flag not in ("--embeddings", "--dataset") else []
    ended = initpools("select-pool", "kmeans", "--budget", 2, *given, flag, name)
    if flag == "--dataset":
        refused(ended, "x.npz")
    else:
        refused(ended, name, WORDS.get(make, "is a pipe, a socket or a device"))


def test_a_link_to_a_regular_file_is_read(here: Path, initpools: Initpools) -> None:
    (here / "link.npy").symlink_to("e.npy")
    assert initpools("select-pool", "kmeans", "--budget", 2, "--embeddings", "link.npy").code == 0


def test_a_file_that_grows_past_the_bound_is_refused(here: Path) -> None:
    (here / "x.csv").write_bytes(b"x" * 11)
    assert read_file(here / "x.csv", "--labels", most=11) == b"x" * 11
    with pytest.raises(UserError, match=r"--labels\) is larger than the limit of 10 bytes"):
        read_file(here / "x.csv", "--labels", most=10)


# ---- arrays


def npy(shape: str, body: int, descr: str = "'<f4'") -> bytes:
    """A .npy file whose header says a shape, as text, with so many bytes after it."""
    head = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    head += b" " * (-(len(head) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + bytes(body)


ARRAYS = {
    "negative": (npy("(-4, 4)", 64), "(-4, 4)"),
    "forty digits": (npy(f"({'9' * 40}, 4)", 64), "1e+40"),
    "product overflows": (npy(f"({2**32}, {2**32})", 0), "bytes follow"),
    "five thousand digits": (npy(f"({'9' * 5000},)", 64), "header"),
    "too short": (npy("(10, 4)", 64), "(10, 4) float32, but 64 bytes follow"),
    "too long": (npy("(2, 4)", 64), "(2, 4) float32, but 64 bytes follow"),
    "no integer": (npy("(4.5, 4)", 64), "shape is not valid"),
    "a truth value": (npy("(True, 16)", 64), "(True, 16)"),
    "no end": (npy("(4, 4", 64), "its header is damaged"),
    "no type": (npy("(4, 4)", 64, "'x9'"), "can't be read as a .npy array"),
    "objects": (npy("(4,)", 64, "'|O'"), "pickled Python objects"),
    "no header": (b"\x93NUMPY\x01\x00\xff\xff{", "header"),
    "a version to come": (b"\x93NUMPY\x09\x00\x00\x00\x00\x00", "header"),
    "text": (b"1,2\n3,4\n", "not a .npy file"),
    "an archive": (b"PK\x03\x04\x14\x00" + bytes(60), ".npz archive"),
    "nothing": (b"", "not a .npy file"),
}


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("kind", ARRAYS)
def test_a_header_is_checked_before_anything_is_allocated(kind: str, mapped: bool, here: Path) -> None:
    content, words = ARRAYS[kind]
    (here / "x.npy").write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_array(here / "x.npy", "--scores", mapped=mapped)
    assert words in caught.value.fact and "--scores" in caught.value.fact and len(caught.value.fact) < 600


@pytest.mark.parametrize("kind", [kind for kind in ARRAYS if kind not in ("an archive", "nothing", "text")])
def test_so_is_one_inside_an_archive(kind: str, here: Path, initpools: Initpools) -> None:
    with zipfile.ZipFile("x.npz", "w") as archive:
        archive.writestr("train_images.npy", ARRAYS[kind][0])
    refused(initpools("select-pool", "random", "--budget", 2, "--dataset", "x.npz"), "x.npz")


# ---- settings


SETTINGS = {
    "nested": (f"[select]\nparams = {'[' * 4000}{']' * 4000}", "nested too deeply"),
    "digits": (f"[run]\nseed = {'1' * 5000}", "digits"),
    "hexadecimal": (f"[run]\nseed = 0x{'f' * 6000}", "a number of 24000 bits"),
    "keys": (f"[run]\na{'.a' * 5000} = 1", "nested too deeply"),
    "long text": (f"[run]\ndevice = '{'x' * 9000}'", "run.device"),
    "no UTF-8": ("[run]\nseed = '\udcff'", "not valid TOML"),
    "large": ("#" * (2 << 20), "limit of 1 MiB"),
    "infinite": ("[dataset]\ntest = inf", "dataset.test"),
    "no number": ("[dataset]\ntest = nan", "dataset.test"),
}


@pytest.mark.parametrize("kind", SETTINGS)
def test_a_configuration_is_refused(kind: str, here: Path, initpools: Initpools) -> None:
    text, words = SETTINGS[kind]
    (here / "x.toml").write_bytes(text.encode(errors="surrogateescape"))
    refused(initpools("select-pool", "kmeans", "--budget", 2, "--embeddings", "e.npy", "--config", "x.toml"), words)


SETS = {
    "nested": f"run.seed={'[' * 900}",
    "digits": f"run.seed={'1' * 5000}",
    "hexadecimal": f"run.seed=0x{'f' * 6000}",
    "nul": 'dataset.labels="a\\u0000b"',
}


@pytest.mark.parametrize("kind", SETS)
def test_so_is_a_setting(kind: str, here: Path, initpools: Initpools) -> None:
    key = SETS[kind].partition("=")[0]
    ended = initpools("select-pool", "random", "--budget", 2, "--dataset", here, "--set", SETS[kind])
    refused(ended)
    assert kind == "nul" or key in ended.err


# ---- annotations


def test_entities_and_bombs_are_refused(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "x.xml").write_text('<!DOCTYPE a [<!ENTITY b "bbbb">]><annotations>&b;</annotations>')
    with pytest.raises(UserError, match="document type"):
        cvat.read(here / "x.xml", "--labels")
    (here / "x.xml").write_bytes('<!DOCTYPE a [<!ENTITY b "bbbb">]><annotations>&b;</annotations>'.encode("utf-16"))
    with pytest.raises(UserError, match="document type"):
        cvat.read(here / "x.xml", "--labels")
    monkeypatch.setattr(cvat, "LARGEST", 1 << 20)
    with zipfile.ZipFile("x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.xml", bytes(2 << 20))
    with pytest.raises(UserError, match="larger than 1 MiB"):
        cvat.read(here / "x.zip", "--labels")


def test_deep_nesting_is_refused_or_read(here: Path) -> None:
    (here / "x.json").write_text("[" * 100_000 + "]" * 100_000)
    with pytest.raises(UserError, match="not an export of tasks"):
        label_studio.read(here / "x.json", "--labels")
    (here / "x.xml").write_text("<annotations>" + "<a>" * 100_000 + "</a>" * 100_000 + "</annotations>")
    assert cvat.read(here / "x.xml", "--labels") == ([], [])


def test_the_whole_file_system_is_no_folder_of_labels() -> None:
    with pytest.raises(UserError, match="root of the file system"):
        folders.read(Path("/"), "--labels", by_pixels=False)


# ---- weights


@pytest.mark.parametrize(
    "content", [{0: torch.zeros(1)}, {"state_dict": {1: torch.zeros(1)}}, [1], {"a": 1}, torch.zeros(1)]
)
def test_weights_have_names(content: object, here: Path) -> None:
    torch.save(content, "x.pth")
    with pytest.raises(UserError, match=r"x\.pth has no tensors by name"):
        read_weights(here / "x.pth")


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
    found = initpools("verify", "--run", "runs/x")
    assert found.code == 2 and "run.toml" in found.out and "Traceback" not in found.err


def test_what_the_last_run_was_is_a_path(here: Path, initpools: Initpools) -> None:
    (here / "runs").mkdir()
    with (here / "runs/.last").open("wb") as stream:
        stream.truncate(1 << 40)
    refused(initpools("status"), "runs/.last is damaged")
    (here / "runs/.last").write_text("x" * 500)
    refused(initpools("status"), "name too long")


LONG = "x" * 300


@pytest.mark.parametrize(
    "words",
    [
        ["select-pool", "kmeans", "--budget", 2, "--embeddings", "e.npy", "-o", f"{LONG}.npy"],
        ["select-pool", "kmeans", "--budget", 2, "--embeddings", f"{LONG}.npy"],
        ["select-pool", "random", "--budget", 2, "--dataset", "digits", "--run", LONG],
        ["select-pool", "random", "--budget", 2, "--dataset", LONG],
        ["select-pool", "random", "--budget", 2, "--dataset", "digits", "--export", f"copies={LONG}"],
        ["select-pool", "random", "--budget", 2, "--dataset", "digits", "--export", f"label-studio={LONG}.json"],
        ["status", "--run", LONG],
    ],
)
def test_names_longer_than_the_file_system_allows(words: list[object], here: Path, initpools: Initpools) -> None:
    refused(initpools(*words), "name too long")


# ---- what the system reports


@pytest.mark.parametrize(
    "number", ["EIO", "EMFILE", "ENFILE", "ENAMETOOLONG", "ELOOP", "ESTALE", "ENOTDIR", "ENOSPC", "EBUSY"]
)
def test_every_error_of_the_system_has_a_remedy(number: str) -> None:
    code = getattr(errno, number)
    known = system_error(OSError(code, os.strerror(code), "data/x.npy"))
    assert known is not None and "data/x.npy" in known.fact and known.remedy
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
        said = run.stderr.read().decode()
    assert run.returncode == 128 + number and said.startswith("interrupted."), said
