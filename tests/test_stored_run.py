"""A run that version 0.1.0 stored, before files had a schema number, still opens and is still found done."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Annotated

import pytest
import tomli
import tomli_w
from pydantic import Field

from initpools_cli.core.registry import Registry
from initpools_cli.core.schema import ADDED, SCHEMA
from initpools_cli.core.traits import Traits

STORED = Path(__file__).parent / "data" / "run-schema-1.tar.xz"
#: The commands that made it, and what each printed.
MADE = {
    # The default precision depends on the processor.
    "pretrain simclr --set pretrain.epochs=1 --set pretrain.width=0.02 --set hidden=4 --set out=4 "
    "--set run.precision=fp32": "pretrain/simclr",
    "embed simclr": "embed/simclr",
    "embed pca": "embed/pca",
    "score simclr": "score/simclr",
    "select-pool typiclust --budget 6 --from simclr": "pool/typiclust-b6-s0",
    "select-pool random --budget 6": "pool/random-b6-s0",
    "al-run --init random,typiclust --query margin --budget 4 --rounds 1 --seeds 2 --from simclr": "al/main",
    "rank typiclust --from simclr": "rank/typiclust",
}


@pytest.fixture
def stored_run(tmp_path, monkeypatch):
    """The run, unpacked where its data set is found."""
    with tarfile.open(STORED) as archive:
        archive.extractall(tmp_path, filter="data")
    for file in tmp_path.rglob("*.toml"):
        file.write_text(file.read_text().replace("/data/", f"{tmp_path}/"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs" / "shapes"


def test_a_stored_run_opens_and_is_whole(initpools, stored_run):
    assert initpools("verify", "--run", stored_run).code == 0
    shown = initpools("status", "--run", stored_run)
    assert shown.code == 0
    for step in MADE.values():
        assert step in shown.out
    assert "stale" not in shown.out and "damaged" not in shown.out
    assert initpools("compare", "main", "--run", stored_run).code == 0


@pytest.mark.parametrize("command", MADE)
def test_no_step_of_a_stored_run_looks_different(initpools, stored_run, command):
    before = {file: file.read_bytes() for file in stored_run.rglob("step.toml")}
    again = initpools(*command.split(), "--threads", "1", "--run", stored_run)
    assert again.code == 0, again.err
    assert "already done" in again.err
    assert MADE[command] in again.err
    assert before == {file: file.read_bytes() for file in stored_run.rglob("step.toml")}


def test_steps_of_methods_that_have_changed_are_shown_and_never_taken_for_current(initpools, stored_run):
    shown = {line.split("\t")[0]: line for line in initpools("status", "--run", stored_run).out.splitlines()}
    for step, method in (
        ("pool/zcore-b6-s0", "zcore"),
        ("pool/maxherding-b6-s0", "maxherding"),
        ("al/on-pca", "linear"),
    ):
        assert f"made by an older version of {method}" in shown[step]
    assert not any("older version" in shown[step] for step in MADE.values())
    words = ["select-pool", "maxherding", "--budget", "6", "--from", "simclr", "--set", "kernel=student"]
    again = initpools(*words, "--threads", "1", "--run", stored_run)
    assert again.code == 0 and "already done" not in again.err
    (beside,) = stored_run.glob("pool/maxherding-b6-s0-*")
    assert tomli.loads((beside / "step.toml").read_text())["table"]["revisions"] == {"maxherding": 2}


def test_what_is_written_now_has_a_schema(initpools, stored_run):
    assert initpools("select-pool", "kmeans", "--budget", "4", "--from", "pca", "--run", stored_run).code == 0
    facts = tomli.loads((stored_run / "pool" / "kmeans-b4-s0" / "step.toml").read_text())
    assert facts["schema"] == SCHEMA


@pytest.mark.parametrize("file", ["run.toml", "embed/simclr/step.toml"])
def test_a_newer_schema_is_refused(initpools, stored_run, file):
    facts = tomli.loads((stored_run / file).read_text())
    (stored_run / file).write_text(tomli_w.dumps({"schema": SCHEMA + 1, **facts}))
    refused = initpools("select-pool", "kmeans", "--budget", "4", "--from", "simclr", "--run", stored_run)
    assert refused.code == 2
    assert "newer version of initpools" in refused.err
    assert "pip install --upgrade initpools" in refused.err


def test_added_knobs_and_revisions():
    registry = Registry("method", "initpools_cli.core", "", Traits)

    @registry.register(revision=lambda knobs: 2 if knobs["kernel"] == "student" else 1)
    def method(
        embeddings,
        *,
        kernel: str = "gaussian",
        beta: Annotated[float, Field(gt=0, json_schema_extra=ADDED)] = 0.5,
    ):
        """Choose."""

    made = registry._methods["method"]
    assert made.identity(made.validate({})) == {"kernel": "gaussian"}
    assert made.identity(made.validate({"beta": 1.0})) == {"kernel": "gaussian", "beta": 1.0}
    assert made.revision({}) == 1
    assert made.revision({"kernel": "student"}) == 2
