"""`verify --replay`: every step of a run made again from its step.toml, and the difference that is found."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Initpools, run_in
from sklearn.datasets import load_digits

from initpools_cli.core.checked_toml import read_checked_toml, write_checked_toml
from initpools_cli.core.files import sha256_of
from initpools_cli.steps.compare_results import difference_within, first_difference

STEPS = ("pretrain/simclr", "embed/simclr", "score/simclr", "pool/kcenter-b5-s0", "rank/random", "al/main")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of 60 digits that has a step of most kinds. Never written to again."""
    folder = tmp_path_factory.mktemp("made")
    digits = load_digits()
    images, labels = digits.images.astype(np.uint8), digits.target
    np.savez(
        folder / "some.npz", train_images=images[:60], train_labels=labels[:60], test_images=images[60:90],
        test_labels=labels[60:90],
    )  # fmt: skip
    small = ["--set", "pretrain.epochs=1", "--set", "pretrain.width=0.25", "--set", "pretrain.batch=20"]
    run_in(
        folder,
        ["pretrain", "simclr", "--dataset", "some.npz", *small],
        ["score", "simclr"],
        ["select-pool", "kcenter", "--budget", "5", "--export", "copies=out"],
        ["rank", "random"],
        ["al-run", "--init", "random", "--query", "random", "--budget", "4", "--rounds", "1", "--seeds", "1"],
    )
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the run; the folder that it is in is the current one."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return Path("runs/some")


def restamp(step: Path, **facts: object) -> None:
    """Change facts of a step.toml, and write the checksums of the files there are, as a forger would."""
    before = read_checked_toml(step / "step.toml", "")
    writes = {name: sha256_of(step / name) for name in before["writes"]}
    write_checked_toml(step / "step.toml", before | {"writes": writes} | facts)


def test_every_step_gives_the_same_bytes_and_a_forged_result_is_found(run: Path, initpools: Initpools) -> None:
    before = {file: file.read_bytes() for file in Path().rglob("*") if file.is_file()}
    ended = initpools("verify", "--replay")
    assert ended.code == 0, ended
    assert ended.out.splitlines() == [f"{step}\tsame" for step in sorted(STEPS, key=finished(run))]
    assert {file: file.read_bytes() for file in Path().rglob("*") if file.is_file()} == before

    picks = np.load(run / "pool/kcenter-b5-s0/indices.npy")
    picks[[0, 1]] = picks[[1, 0]]
    np.save(run / "pool/kcenter-b5-s0/indices.npy", picks)
    restamp(run / "pool/kcenter-b5-s0")
    assert initpools("verify").code == 0
    result = initpools("verify", "pool/kcenter-b5-s0", "--replay")
    assert result.code == 2
    assert f"differs\tindices.npy: entry [0] is {picks[0]}, and {picks[1]} when it is replayed" in result.out

    # On another machine, the same picks in another order are equal.
    restamp(run / "pool/kcenter-b5-s0", libraries="numpy 1.0")
    close = initpools("verify", "pool/kcenter-b5-s0", "--replay", "--json")
    assert close.code == 0 and "tolerance" in close.err, close
    replays = json.loads(close.out)["replays"]
    assert replays == [{"step": "pool/kcenter-b5-s0", "outcome": "close", "detail": "other versions of libraries"}]

    restamp(run / "pool/kcenter-b5-s0", table=read_checked_toml(run / "pool/kcenter-b5-s0/step.toml", "")["table"] | {
        "budget": 6}, digest="0" * 64)  # fmt: skip
    other = initpools("verify", "pool/kcenter-b5-s0", "--replay")
    assert other.code == 2 and "step.toml: budget is 6, and 5 when it is replayed" in other.out


def test_a_damaged_result_differs(run: Path, initpools: Initpools) -> None:
    for damage in (lambda file: file.write_bytes(file.read_bytes()[:130]), Path.unlink):
        damage(run / "pool/kcenter-b5-s0/represents.npy")
        ended = initpools("verify", "pool/kcenter-b5-s0", "--replay")
        line = "pool/kcenter-b5-s0\tdiffers\trepresents.npy has changed since it was written"
        assert ended.code == 2 and line in ended.out.splitlines()


def finished(run: Path) -> Callable[[str], str]:
    return lambda step: str(read_checked_toml(run / step / "step.toml", "")["finished"])


def test_what_cannot_be_replayed_is_listed_with_the_reason(run: Path, initpools: Initpools) -> None:
    (run / "score/simclr/scores.npy").write_bytes(b"x")
    for kind in ("rank", "al", "pretrain", "embed"):
        for step in (run / kind).iterdir():
            restamp(step, reads={str(Path("gone.csv").resolve()): "0" * 64})
    restamp(run / "score/simclr", processes=4)
    ended = initpools("verify", "--replay")
    assert "rank/random\tnot replayed\tits input" in ended.out and "is gone" in ended.out
    assert "score/simclr\tnot replayed\tit was computed by 4 processes" in ended.out
    named = initpools("verify", "rank/random", "--replay")
    assert named.code == 2
    missing = initpools("verify", "rank/randon", "--replay")
    assert missing.code == 2 and "Did you mean 'rank/random'?" in missing.err


def test_tolerances(tmp_path: Path) -> None:
    old, new = tmp_path / "a.npy", tmp_path / "b.npy"
    values = np.linspace(-2, 2, 50)
    for change, close in ((1e-4, True), (1e-2, False)):
        np.save(old, values)
        np.save(new, values + change)
        assert first_difference(old, new).startswith("entry [0] is -2.0, and ")
        assert (difference_within(old, new) == "") == close
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    for name, again, close in (
        ("indices.npy", np.arange(20)[::-1], True),
        ("sorted_idx.npy", np.arange(20)[::-1], False),
        ("indices.npy", np.r_[np.arange(19), 30], True),
        ("indices.npy", np.r_[np.arange(15), np.arange(30, 35)], False),
        ("labels.npy", np.r_[np.arange(19), 30], True),
    ):
        np.save(tmp_path / "1" / name, np.arange(20))
        np.save(tmp_path / "2" / name, again)
        assert (difference_within(tmp_path / "1" / name, tmp_path / "2" / name) == "") == close, name
    for accuracy, close in (("0.505", True), ("0.6", False)):
        (tmp_path / "1/rounds.csv").write_text("init,accuracy\nrandom,0.5\n")
        (tmp_path / "2/rounds.csv").write_text(f"init,accuracy\nrandom,{accuracy}\n")
        assert (difference_within(tmp_path / "1/rounds.csv", tmp_path / "2/rounds.csv") == "") == close
