"""Files are those that were written, or are refused by name."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from conftest import Initpools
from faults.damage import flip

from initpools_cli.core import checksums
from initpools_cli.core.checksums import checksum, refuse_changed
from initpools_cli.core.errors import UserError
from initpools_cli.core.files import sha256_of
from initpools_cli.steps.user_files import UserArrays, UserFiles


def age(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a file count as one that nobody has just written to."""
    monkeypatch.setattr(checksums, "_MIN_AGE", -(10**12))


def test_a_file_is_hashed_once_and_again_when_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"one")
    age(file, monkeypatch)
    hashed: list[str] = []
    digest = checksums.hashlib.file_digest
    monkeypatch.setattr(checksums.hashlib, "file_digest", lambda *a: (hashed.append(a[1]), digest(*a))[1])
    first = checksum(file)
    assert first == checksum(file) == sha256_of(file) and hashed.count("sha256") == 2
    os.utime(file, ns=(0, 0))
    assert checksum(file) == first and len(hashed) == 3
    refuse_changed(tmp_path, {"a": first, "gone": first})
    file.write_bytes(b"two")
    with pytest.raises(UserError, match=f"{file} changed while it was being read"):
        refuse_changed(tmp_path, {"a": first})


def test_a_file_that_is_replaced_before_it_is_hashed_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.npy"
    np.save(file, np.ones((4, 2)))
    files = UserFiles(embeddings=file)
    assert files.checksums() == {str(file): sha256_of(file)}
    assert UserArrays(files).arrays["embeddings"].shape == (4, 2)
    np.save(tmp_path / "new.npy", np.zeros((4, 2)))
    (tmp_path / "new.npy").replace(file)
    with pytest.raises(UserError, match="changed while it was being read"):
        files.checksums()


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("embed/simclr/train.npy", ["select-pool", "kcenter", "--budget", 3]),
        ("embed/simclr/test.npy", ["embed", "simclr"]),
        ("pretrain/simclr/encoder.safetensors", ["score", "simclr"]),
        ("pretrain/simclr/dynamics.npy", ["score", "ambiguous-to-contrast"]),
    ],
)
def test_a_flipped_bit_is_refused_with_the_command_that_makes_the_file_again(
    file: str, words: list[object], copied_run: Path, initpools: Initpools
) -> None:
    path = Path("runs/digits") / file
    flip(path)
    ended = initpools(*words)
    assert ended.code == 2 and f"{path} was changed after it was written" in ended.err
    assert f"`initpools {path.parent.parent.name} " in ended.err and "--force`" in ended.err


def test_what_is_recorded_is_what_was_read(copied_run: Path, initpools: Initpools) -> None:
    """A file that changes while a step works ends in no step."""
    from initpools_cli.core.rundir import Run

    run = Run(Path("runs/digits"))
    embed_step = run.find_step("embed/simclr")
    assert embed_step is not None
    step = run.step("pool", "x", {}, embed_step.checksums("train.npy"))
    with pytest.raises(UserError, match=r"train\.npy changed while"), step.writing("initpools test", {}):
        flip(embed_step.folder / "train.npy")
    assert run.find_step("pool/x") is None


def test_damaged_pixels_in_the_cache_are_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initpools: Initpools
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INITPOOLS_DATA", str(tmp_path / "data"))
    np.savez("x.npz", train_images=np.random.default_rng(0).integers(0, 255, (12, 4, 4), dtype=np.uint8))
    words = ["embed", "pixels", "--dataset", "x.npz", "--force"]
    assert initpools(*words).code == 0
    before = Path("runs/x/embed/pixels/train.npy").read_bytes()
    (pixels,) = Path("data").glob("arrays/*/train.npy")
    for damage in (lambda: flip(pixels), lambda: flip(pixels.with_name("checksums.json"))):
        damage()
        ended = initpools(*words, "--quiet")
        assert ended.code == 0 and "warning: Moved damaged cached pixels to" in ended.err
        assert Path("runs/x/embed/pixels/train.npy").read_bytes() == before
        assert initpools(*words, "--quiet").err == ""
    assert len(list(Path("data").glob("arrays/*.damaged*"))) == 2


def test_a_damaged_checkpoint_is_refused_and_one_of_an_older_version_is_read(tmp_path: Path) -> None:
    import io

    import torch

    from initpools_cli.training.checkpoint import load_checkpoint, save_checkpoint

    file, state = tmp_path / "checkpoint.pt", {"weights": torch.arange(99.0), "rows": [{"loss": 1.5}]}
    save_checkpoint(file, state)
    whole = file.read_bytes()
    assert load_checkpoint(file, torch.device("cpu"))["rows"] == state["rows"]
    for place in [*range(0, 80, 7), *range(80, len(whole), 97)]:
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(UserError, match="was changed after it was written"):
            load_checkpoint(file, torch.device("cpu"))
    buffer = io.BytesIO()
    torch.save(state, buffer)
    file.write_bytes(buffer.getvalue())
    assert load_checkpoint(file, torch.device("cpu"))["rows"] == state["rows"]


def test_a_damaged_block_of_a_sweep_is_computed_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from initpools_cli.sweeps.executors import Executor
    from initpools_cli.sweeps.jobs import JobResult, run_jobs

    result = JobResult([{"seed": 0}], [np.arange(3)])
    jobs = [(0, "first", {}), (1, "second", {})]

    def compute(job: str) -> JobResult:
        calls.append(job)
        return result

    calls: list[str] = []
    workers = Executor("processes", 1)
    for again in (["first", "second"], [], ["second"]):
        calls.clear()
        results = run_jobs(compute, jobs, tmp_path, "block", workers, lambda number, solved, computed: None)
        assert calls == again and [each.rows for each in results] == [result.rows] * 2
        if not again:
            flip(tmp_path / "block-00001.npz", 70)
    assert "block-00001.npz was changed after it was written" in capsys.readouterr().err
