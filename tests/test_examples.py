"""Notebooks and scripts of `examples/` run as they are written, on little data; the Dockerfile installs the package."""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tomli
from conftest import Initpools, on_one_thread

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"

#: Stands for `initpools` on the PATH of a script: it hands its arguments to the test, which runs them in this process.
STAND_IN = """#!/bin/sh
printf '%s\\0' "$@" run > requests
read -r code < answers
exit "$code"
"""


def run_script(name: str, initpools: Initpools, **settings: str) -> list[list[str]]:
    """Run a script of `examples/` in the current folder, and return the words after `initpools` of its commands."""
    os.mkfifo("requests")
    os.mkfifo("answers")
    Path("bin").mkdir()
    # A link to the interpreter would be outside its environment.
    for command, text in {"initpools": STAND_IN, "python": f'#!/bin/sh\nexec {sys.executable} "$@"\n'}.items():
        Path("bin", command).write_text(text)
        Path("bin", command).chmod(0o755)
    paths = [str(Path("bin").resolve()), os.environ["PATH"]]
    script = subprocess.Popen(
        ["bash", "-c", 'bash "$0"; code=$?; printf "%s\\0end\\0" $code > requests', str(EXAMPLES / name)],
        env={**os.environ, "PATH": os.pathsep.join(paths), **settings},
    )
    commands = []
    while True:
        # Opening waits for the next command of the script.
        *words, last = Path("requests").read_text().split("\0")[:-1]
        if last == "end":
            assert script.wait() == 0 and words == ["0"], commands[-1:]
            return commands
        commands.append(words)
        ended = initpools(*on_one_thread(words))
        sys.stderr.write(ended.err)
        Path("answers").write_text(f"{ended.code}\n")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_the_medical_script_labels_one_image_per_patient(initpools: Initpools) -> None:
    run_script("medical_groups.sh", initpools, PATIENTS="36", SEEDS="3", SOURCE="pca")
    patients = pd.read_csv("patients.csv", index_col="index")["group"]
    picks = pd.read_csv("to-label.csv")["index"]
    assert len(picks) == 20 and patients[picks].nunique() == 20
    items = pd.read_csv("runs/xrays/data/items.csv")
    # The rows of train that are not kept are the test split.
    train = items[items["split"] == "train"][np.load("runs/xrays/data/kept.npy")]
    test = items[items["split"] == "test"]
    assert len(test) and not {*train["group"]} & {*test["group"]}
    rounds = pd.read_csv("runs/xrays/al/first-xrays/rounds.csv")
    assert (rounds["status"] == "ok").all() and set(rounds["labeled"]) == {20, 40}


@pytest.mark.usefixtures("folder")
def test_the_folder_script_labels_in_rounds(initpools: Initpools) -> None:
    run_script("folder_loop.sh", initpools, IMAGES="80", ROUNDS="2", SOURCE="pca")
    batches = [pd.read_csv(f"batch-{number}.csv")["path"] for number in (1, 2, 3)]
    assert pd.concat(batches).nunique() == 45
    answers = pd.read_csv("answers.csv", index_col="path")["label"]
    table = pd.read_csv("labels.csv", index_col="path")
    labels = table[table["source"] == "label"]["label"]
    assert len(labels) == 30 and (labels == answers[labels.index]).all()


# ---- notebooks

NOTEBOOKS = sorted(path.stem for path in EXAMPLES.glob("*.ipynb"))
#: In place of what the notebooks say, to take less time.
FEWER = {"--seeds": "2", "--rounds": "1"}


def code_cells(name: str) -> list[dict[str, Any]]:
    cells = json.loads((EXAMPLES / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def plain(code: str) -> str:
    """Python of the code of a cell: its lines `!initpools …` call `shell`."""
    code = re.sub(r"^!initpools (.*)", lambda line: f"shell({line[1]!r})", code, flags=re.MULTILINE)
    return re.sub(r"^POOLS = \d+", "POOLS = 5", code, flags=re.MULTILINE)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_run(name: str, initpools: Initpools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "agg")
    from matplotlib import pyplot

    def shell(line: str) -> None:
        words = shlex.split(line)
        for flag in FEWER.keys() & {*words}:
            words[words.index(flag) + 1] = FEWER[flag]
        ended = initpools(*on_one_thread(words))
        assert ended.code == 0, ended.err

    def run(words: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        ended = initpools(*words[1:])
        return subprocess.CompletedProcess(words, ended.code, ended.out)

    monkeypatch.setattr(subprocess, "run", run)
    names: dict[str, object] = {"shell": shell}
    for cell in code_cells(name):
        exec(plain("".join(cell["source"])), names)
        pyplot.close("all")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_have_the_outputs_of_one_run(name: str) -> None:
    cells = code_cells(name)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    kinds = [output["output_type"] for cell in cells for output in cell["outputs"]]
    assert "error" not in kinds and {"stream", "display_data"} <= {*kinds}


# ---- Docker


def instructions(dockerfile: str) -> dict[str, list[str]]:
    """The arguments of each kind of instruction, in order."""
    lines_of: dict[str, list[str]] = {}
    for line in dockerfile.replace("\\\n", " ").splitlines():
        if line and not line.startswith("#"):
            name, _, rest = line.partition(" ")
            lines_of.setdefault(name, []).append(rest)
    return lines_of


def test_the_dockerfile_installs_this_package(initpools: Initpools) -> None:
    lines_of = instructions((ROOT / "Dockerfile").read_text())
    project = tomli.loads((ROOT / "pyproject.toml").read_text())["project"]
    copied = [word for line in lines_of["COPY"] for word in line.split()[:-1]]
    assert all((ROOT / name).exists() for name in copied)
    # What building the package reads, and nothing else is sent to Docker.
    assert {"pyproject.toml", "initpools_cli", project["readme"], *project["license-files"]} == {*copied}
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert ignored[0] == "*" and {f"!{name}" for name in copied} <= {*ignored}
    versions = re.search(r"TORCH \?= (.*)", (ROOT / "Makefile").read_text())[1]
    torch, package = (line.removeprefix("pip install --no-cache-dir ") for line in lines_of["RUN"] if "pip" in line)
    assert torch == f"{versions} --index-url https://download.pytorch.org/whl/cpu"
    extras = re.fullmatch(r'"\.\[(.*)\]"', package)[1].split(",")
    assert {*extras} <= {*project["optional-dependencies"]}
    [entry], words = (json.loads(lines_of[name][0]) for name in ("ENTRYPOINT", "CMD"))
    module, _, function = project["scripts"][entry].partition(":")
    assert callable(getattr(importlib.import_module(module), function))
    assert initpools(*words).code == 0
