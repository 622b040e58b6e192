"""Locks are files of our own: what others put in their place is refused and left as it is."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from initpools_cli.cli.labeler.label_lock import seated
from initpools_cli.core.errors import UserError
from initpools_cli.core.reporter import Reporter
from initpools_cli.core.rundir import Run
from initpools_cli.datasets.download import Remote, fetch

CONTENT = "what somebody keeps"


def step(folder: Path) -> None:
    with Run(folder).step("pool", "x", {}, {}).writing("initpools", {}):
        pass


def label(folder: Path) -> None:
    with seated(folder / "labels.csv"):
        pass


def download(folder: Path) -> None:
    (folder / "source").write_text("x")
    fetch(Remote(((folder / "source").as_uri(),), "x", "0" * 32), folder, Reporter(quiet=True), wait=0)


HOLDERS = {".partial/pool/x.lock": step, ".labels.csv.lock": label, "x.part": download}


def symbolic_link(path: Path, target: Path) -> None:
    path.symlink_to(target)


def hard_link(path: Path, target: Path) -> None:
    path.hardlink_to(target)


def pipe(path: Path, target: Path) -> None:
    os.mkfifo(path)


def folder(path: Path, target: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("plant", [symbolic_link, hard_link, pipe, folder])
@pytest.mark.parametrize("place", HOLDERS)
def test_what_is_not_our_own_is_no_lock(tmp_path: Path, place: str, plant: Callable[[Path, Path], None]) -> None:
    target = tmp_path / "target"
    target.write_text(CONTENT)
    lock = tmp_path / place
    lock.parent.mkdir(parents=True, exist_ok=True)
    plant(lock, target)
    with pytest.raises(UserError, match=lock.name):
        HOLDERS[place](tmp_path)
    assert target.read_text() == CONTENT and os.path.lexists(lock)


@pytest.mark.parametrize("place", HOLDERS)
def test_another_users_file_is_no_lock(tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / place
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.write_text(CONTENT)
    us = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: us + 1)
    with pytest.raises(UserError, match="belongs to another user"):
        HOLDERS[place](tmp_path)
    assert lock.read_text() == CONTENT


def test_a_finished_step_leaves_no_lock(tmp_path: Path) -> None:
    step(tmp_path)
    assert not [*(tmp_path / ".partial").rglob("*.lock")]


def test_a_lock_is_held_by_one(tmp_path: Path) -> None:
    """Also by the one who waited while the holder removed the file."""

    def held() -> AbstractContextManager[object]:
        return Run(tmp_path).step("pool", "x", {}, {}).writing("initpools", {})

    with held():
        with pytest.raises(UserError, match="Another initpools process"), held():
            pass
        lock = tmp_path / ".partial/pool/x.lock"
        assert lock.stat().st_mode & 0o777 == 0o600
        lock.write_text("")


# ---- workers end with their parent


def ended_after(program: str, tmp_path: Path) -> float:
    """Seconds from the kill of a process to the end of the last one that it started."""
    (tmp_path / "program.py").write_text(program)
    with subprocess.Popen([sys.executable, "program.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        # The children hold the pipe, too: it ends with the last of them.
        parent.stdout.readline()
        parent.kill()
        began = time.monotonic()
        parent.stdout.read()
        return time.monotonic() - began


CHILD = (
    "import sys, time; from initpools_cli.core.interrupts import end_with; end_with(int(sys.argv[1])); time.sleep(30)"
)


def test_a_worker_ends_with_its_parent(tmp_path: Path) -> None:
    program = f"""
import os, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", {CHILD!r}, str(os.getpid())])
print("started", flush=True)
time.sleep(30)
"""
    assert ended_after(program, tmp_path) < 5


@pytest.mark.slow
def test_the_workers_of_a_sweep_end_with_it(tmp_path: Path) -> None:
    program = """
import time
from initpools_cli.sweeps import executors as workers

def job(number):
    if number == 1:
        print("started", flush=True)
    time.sleep(60 if number else 0)

if __name__ == "__main__":
    workers.WORTH = 0
    list(workers.Workers("processes", 2).map(job, [(i, i, {}) for i in range(4)]))
"""
    assert ended_after(program, tmp_path) < 5
