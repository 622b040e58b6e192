"""Locks are files of our own: what others put in their place is refused and left as it is."""

from __future__ import annotations

import builtins
import errno
import importlib
import os
import pkgutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from initpools_cli.cli.labeler.label_lock import label_lock
from initpools_cli.core.download import RemoteFile, fetch
from initpools_cli.core.errors import UserError
from initpools_cli.core.locks import locked
from initpools_cli.core.reporter import Reporter
from initpools_cli.core.rundir import Run
from initpools_cli.datasets.cache import scratch_folder

CONTENT = "what somebody keeps"


def step(folder: Path) -> None:
    with Run(folder).step("pool", "x", {}, {}).writing("initpools", {}):
        pass


def label(folder: Path) -> None:
    with label_lock(folder / "labels.csv"):
        pass


def download(folder: Path) -> None:
    (folder / "source").write_text("x")
    fetch(RemoteFile(((folder / "source").as_uri(),), "x", "0" * 32), folder, Reporter(quiet=True), wait=0)


def scratch(folder: Path) -> None:
    with scratch_folder(folder):
        pass


HOLDERS = {".partial/pool/x.lock": step, ".labels.csv.lock": label, "x.part": download, "x.part.lock": download}


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

    def hold() -> AbstractContextManager[object]:
        return Run(tmp_path).step("pool", "x", {}, {}).writing("initpools", {})

    with hold():
        with pytest.raises(UserError, match=rf"Another initpools process \({os.getpid()} on "), hold():
            pass
        lock = tmp_path / ".partial/pool/x.lock"
        assert lock.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", ["", "x" * 9999, "[" * 4000, '{"process": "x\\n", "host": 1}', "\0\xff"])
def test_a_holder_that_can_not_be_read_is_not_named(tmp_path: Path, content: str) -> None:
    with label_lock(tmp_path / "labels.csv"):
        (tmp_path / ".labels.csv.lock").write_text(content)
        with pytest.raises(UserError, match=r"by another process\. "):
            label(tmp_path)


HOLDING = """
import sys
from pathlib import Path
from initpools_cli.core.locks import locked
with locked(Path(sys.argv[1]), lambda holder: sys.exit("taken")):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lock_is_free_when_its_holder_is_killed(tmp_path: Path) -> None:
    lock = tmp_path / ".labels.csv.lock"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", HOLDING, str(lock)], **pipes, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=rf"another process \({holder.pid} on "):
            label(tmp_path)
        holder.kill()
        holder.wait()
    assert lock.exists()
    label(tmp_path)
    assert not lock.exists()


def test_a_removed_lock_does_not_let_two_in(tmp_path: Path) -> None:
    """Holders remove the file, so that others may wait for one that is no longer there."""
    turns: list[int] = []
    inside = threading.Lock()

    def work() -> None:
        for _ in range(20):
            try:
                with locked(tmp_path / "x.lock", lambda holder: UserError("taken", "wait", holder)):
                    assert inside.acquire(blocking=False)
                    turns.append(1)
                    inside.release()
            except UserError:
                pass

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(work) for _ in range(4)]:
            future.result()
    assert len(turns) > 4 and not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", HOLDERS)
def test_a_file_system_without_locks_is_named(tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", refused)
    with pytest.raises(UserError, match="does not support locks"):
        HOLDERS[place](tmp_path)
    (tmp_path / ".scratch-left").mkdir()
    # Unfinished pixels need none; nobody removes what others may be using.
    scratch(tmp_path)
    assert (tmp_path / ".scratch-left").exists()


# ---- systems other than POSIX

POSIX_ONLY = {"fcntl", "grp", "pwd", "resource", "termios", "tty", "pty", "posix", "syslog", "readline", "curses"}


def test_every_module_can_be_imported_without_posix(monkeypatch: pytest.MonkeyPatch) -> None:
    """Libraries choose between systems themselves; the project's own modules are imported anew."""
    real_import = builtins.__import__

    def hiding(name: str, names: dict[str, Any] | None = None, *rest: Any) -> Any:
        if name.partition(".")[0] in POSIX_ONLY and str((names or {}).get("__name__")).startswith("initpools_cli"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real_import(name, names, *rest)

    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "initpools_cli"}
    for name in before:
        del sys.modules[name]
    monkeypatch.setattr(builtins, "__import__", hiding)
    try:
        package = importlib.import_module("initpools_cli")
        names = [each.name for each in pkgutil.walk_packages(package.__path__, "initpools_cli.")]
        for name in names:
            importlib.import_module(name)
        with pytest.raises(ModuleNotFoundError):
            exec("import fcntl", {"__name__": "initpools_cli.x"})
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "initpools_cli"]:
            del sys.modules[name]
        sys.modules.update(before)
    assert len(names) > 200


# ---- workers end with their parent


def ended_after(program: str, tmp_path: Path) -> float:
    """Seconds from the kill of a process to the end of the last one that it started."""
    (tmp_path / "program.py").write_text(program)
    with subprocess.Popen([sys.executable, "program.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        # The children hold the pipe, too: it ends with the last of them.
        parent.stdout.readline()
        parent.kill()
        start = time.monotonic()
        parent.stdout.read()
        return time.monotonic() - start


CHILD = (
    "import sys, time; from initpools_cli.core.interrupts import exit_with_parent; "
    "exit_with_parent(int(sys.argv[1])); print('started', flush=True); time.sleep(60)"
)


def test_a_worker_ends_with_its_parent(tmp_path: Path) -> None:
    program = f"""
import os, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", {CHILD!r}, str(os.getpid())])
time.sleep(60)
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
    workers.MIN_SECONDS = 0
    list(workers.Workers("processes", 2).map(job, [(i, i, {}) for i in range(4)]))
"""
    assert ended_after(program, tmp_path) < 5
