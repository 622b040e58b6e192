"""What killed commands left is taken over by the next writer, or removed by `clean`; labels and results never are."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import Initpools
from faults.fork import CHANGES, FAIL, READ, CallFault
from faults.in_process import disturbed
from faults.state import snapshot

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import atomic_file, write_text
from initpools_cli.core.locks import locked
from initpools_cli.core.output_folders import file_of, write_folder
from initpools_cli.core.reporter import Reporter
from initpools_cli.core.rundir import Run
from initpools_cli.datasets.cache import scratch_folder


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def test_the_next_writer_takes_over_an_unfinished_file(tmp_path: Path) -> None:
    (tmp_path / ".a.csv.tmp").write_text("half of a longer content")
    write_text(tmp_path / "a.csv", "whole")
    assert names(tmp_path) == {"a.csv"} and (tmp_path / "a.csv").read_text() == "whole"


def test_two_writers_of_a_file_do_not_mix(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "a.csv") as first:
        first.write(b"first")
        write_text(tmp_path / "a.csv", "second")
        assert (tmp_path / "a.csv").read_text() == "second"
    assert names(tmp_path) == {"a.csv"} and (tmp_path / "a.csv").read_text() == "first"


def test_what_others_put_in_its_place_is_left(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("kept")
    (tmp_path / ".a.csv.tmp").symlink_to(tmp_path / "kept")
    write_text(tmp_path / "a.csv", "whole")
    assert (tmp_path / "kept").read_text() == "kept" and names(tmp_path) == {"a.csv", "kept", ".a.csv.tmp"}


def test_the_next_export_replaces_an_unfinished_folder(tmp_path: Path) -> None:
    (tmp_path / ".out.tmp").mkdir()
    (tmp_path / ".out.tmp/b").write_text("of another export")
    (tmp_path / ".out.lock").touch(mode=0o600)
    write_folder(tmp_path / "out", {"a": file_of(lambda: b"a")}, Reporter(quiet=True))
    assert names(tmp_path) == {"out"} and names(tmp_path / "out") == {"a"}
    with (
        locked(tmp_path / ".new.lock", lambda holder: UserError("taken", "wait", holder)),
        pytest.raises(UserError, match="is being written by another process"),
    ):
        write_folder(tmp_path / "new", {"a": file_of(lambda: b"a")}, Reporter(quiet=True))


def test_a_scratch_folder_of_the_cache_is_removed_even_if_one_call_fails(tmp_path: Path) -> None:
    def use(cache: Path) -> None:
        with scratch_folder(cache) as scratch:
            for name in ("train.npy", "test.npy"):
                (scratch / name).write_bytes(b"0")

    def tried(at: int) -> int:
        cache = tmp_path / f"{at}"
        with disturbed(cache, CallFault(FAIL, CHANGES | READ, 0, errno.EIO), at) as injector:
            try:
                use(cache)
            except (UserError, OSError):
                # The next command removes a folder or lock that could not be made.
                use(cache)
        assert names(cache) == set(), injector.hit
        return injector.calls

    for at in range(1, tried(0) + 1):
        tried(at)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initpools: Initpools) -> Run:
    """A run with embeddings and a pool; the folder that it is in is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INITPOOLS_DATA", str(tmp_path / "data"))
    images = np.random.default_rng(0).integers(0, 255, (12, 4, 4), dtype=np.uint8)
    np.savez("x.npz", train_images=images)
    assert initpools("embed", "pixels", "--dataset", "x.npz").code == 0
    assert initpools("select-pool", "random", "--budget", 3).code == 0
    return Run(Path("runs/x"))


def test_a_finished_step_loses_what_a_kill_left(run: Run, initpools: Initpools) -> None:
    want = snapshot(run.path)
    (run.path / "embed/pixels/digest").write_text("x")
    (run.path / "embed/pixels/work").mkdir()
    (run.path / "embed/pixels/work/checkpoint.pt").touch()
    (run.path / ".partial/embed/pixels.lock").touch(mode=0o600)
    shutil.copytree(run.path / "embed/pixels", run.path / ".partial/embed/pixels.old")
    assert "already done" in initpools("embed", "pixels").err
    assert snapshot(run.path) == want


def test_clean_removes_what_no_result_needs(run: Run, initpools: Initpools) -> None:
    assert "nothing is left over" in initpools("clean").err
    (run.path / "labels").mkdir()
    (run.path / "labels/a.csv").write_text("index,label\n0,cat\n")
    (run.path / "labels/.a.csv.tmp").write_text("index,label\n0,cat\n1,dog\n")
    want = snapshot(Path())
    # Two finished steps that are not in their places: one was to be replaced, the other to be given its name.
    (run.path / "embed/pixels").rename(run.path / ".partial/embed/pixels.old")
    (run.path / "pool/random-b3-s0").rename(run.path / ".partial/pool/random-b3-s0")
    (run.path / ".partial/pool/random-b3-s0/digest").write_text("x")
    left = ["pool/half/digest", "pool/half/work/a.npz", "pool/old.lock"]
    for name in left:
        (run.path / ".partial" / name).parent.mkdir(parents=True, exist_ok=True)
        (run.path / ".partial" / name).touch(mode=0o600)
    (run.path / "data/.items.csv.tmp").touch(mode=0o600)
    (run.path / ".run.toml.abcd1234").touch()
    (Path("data") / ".scratch-1").mkdir()
    (Path("data") / ".scratch-1/train.npy").touch()
    (Path("data") / "unfinished").mkdir()
    calls = Path("data/unfinished/a.calls")
    calls.touch(mode=0o600)
    before = snapshot(Path())
    default = initpools("clean", "--dry-run")
    assert "calls on a cluster" not in default.out
    assert "pool/half" not in default.out and "unfinished steps that are kept: 1" in default.err
    listed = initpools("clean", "--unfinished", "--dry-run")
    assert listed.code == 0 and {path for path in before if not path.endswith(".lock")} <= snapshot(Path()).keys()
    assert "data/unfinished/a.calls\tresults of calls on a cluster" in listed.out
    held = run.path / ".partial/pool/half.lock"
    with locked(held, lambda holder: UserError("taken", "wait", holder)):
        kept = initpools("clean", "--unfinished")
        assert kept.code == 0 and (run.path / ".partial/pool/half/digest").exists()
    assert "unfinished steps that are kept: 1" in initpools("clean").err
    assert (run.path / ".partial/pool/half/digest").exists() and not calls.exists()
    assert initpools("clean", "--unfinished").out.startswith(f"{run.path}/.partial/pool/half\tunfinished step")
    # A file that another process may be writing is kept for a day.
    assert snapshot(Path()) == want | {"runs/x/.run.toml.abcd1234": b""}
    assert initpools("verify").code == 0
