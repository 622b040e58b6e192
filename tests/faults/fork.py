"""Command lines in forked processes, which have the package imported already, and faults of their file calls.

The process that forks never computes anything, so that its children begin as if they had just imported the package.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: Those that commands handle.
SIGNALS = (signal.SIGINT, signal.SIGTERM)
SOURCE = Path(__file__).with_name("preload.c")
#: Kinds of calls, and what happens at the chosen one: the same numbers as in preload.c.
CREATE, WRITE, SYNC, RENAME, REMOVE, MODE, OPEN, READ, NAME = (1 << bit for bit in range(9))
COUNT, KILL, TORN, FAIL = range(4)
CHANGES = CREATE | WRITE | SYNC | RENAME | REMOVE | MODE | NAME
GROWS = CREATE | WRITE | SYNC | NAME


@dataclass(frozen=True)
class CallFault:
    """What happens at the k-th of some file calls.

    Attributes
    ----------
    action : int
        `KILL`, `TORN` or `FAIL`.
    counted : int
        The calls of which it is the k-th.
    lasting : int
        The calls that fail afterwards, too.
    error : int
        With which error they fail.
    """

    action: int
    counted: int
    lasting: int = 0
    error: int = 0


CALL_FAULTS = {
    "killed at a file call": CallFault(KILL, CHANGES),
    "killed in a write": CallFault(TORN, WRITE),
    "no space (ENOSPC)": CallFault(FAIL, GROWS, GROWS, errno.ENOSPC),
    "over quota (EDQUOT)": CallFault(FAIL, GROWS, GROWS, errno.EDQUOT),
    "read-only (EROFS)": CallFault(FAIL, CHANGES, CHANGES, errno.EROFS),
    "input/output error (EIO)": CallFault(FAIL, CHANGES | READ, 0, errno.EIO),
    "too many files (EMFILE)": CallFault(FAIL, OPEN, 0, errno.EMFILE),
}


def library(folder: Path) -> Path | None:
    """Compile the library of file calls; None where there is no C compiler, or no way to preload one."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    target = folder / "preload.so"
    if not target.exists() or target.stat().st_mtime < SOURCE.stat().st_mtime:
        command = [compiler, "-shared", "-fPIC", "-O2", "-o", str(target), str(SOURCE), "-ldl"]
        subprocess.run(command, check=True)
    return target


def preloaded() -> ctypes.CDLL | None:
    """The library, if this process was started with it."""
    whole = ctypes.CDLL(None)
    return whole if hasattr(whole, "faults_arm") else None


@dataclass
class Ended:
    """How a process ended, and what it wrote.

    Attributes
    ----------
    code : int
        Exit code; -n: killed by signal n.
    at : str
        The file call that was hit; empty where there was none.
    calls : int
        Number of counted calls.
    seconds : float
        How long it ran.
    saved : sequence of str
        The labels that the page said were saved, as ``index,label``.
    """

    code: int
    out: str
    err: str
    at: str = ""
    calls: int = 0
    seconds: float = 0.0
    saved: Sequence[str] = ()


@dataclass
class Child:
    """A forked process that runs a function, the leader of a session of its own."""

    pid: int
    notes: Path
    started: float = field(default_factory=time.monotonic)
    status: int | None = None

    def running(self) -> bool:
        """Whether the process has not ended."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = status if pid else None
        return self.status is None

    def wait(self, limit: float = 1200.0) -> Ended:
        """Wait for the end of the process; kill it after `limit` seconds, with code -9 and a note."""
        late = False
        while self.running():
            time.sleep(0.002)
            if not late and time.monotonic() - self.started > limit:
                late = True
                os.kill(self.pid, signal.SIGKILL)
        seconds = time.monotonic() - self.started
        texts = [(self.notes / name).read_text(errors="replace") for name in ("out", "err", "at", "calls")]
        out, err, at, calls = texts
        note = self.notes / "saved"
        saved = note.read_text().splitlines() if note.exists() else []
        assert self.status is not None
        code = os.waitstatus_to_exitcode(self.status)
        shutil.rmtree(self.notes)
        return Ended(code, out, err + ("\nit did not end" if late else ""), at, int(calls or 0), seconds, saved)

    def session(self) -> list[int]:
        """The processes of its session that are running, such as workers."""
        pids = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == self.pid and fields[0] != "Z":
                    pids.append(int(folder.name))
        return pids


_numbers = iter(range(10**9))


def fork(
    act: Callable[[], int],
    cwd: Path,
    notes: Path,
    fault: CallFault | None = None,
    at: int = 0,
    root: Path | None = None,
) -> Child:
    """Start a function in a forked process, where `SIGNALS` are blocked.

    Parameters
    ----------
    act : callable
        Returns the exit code, or raises SystemExit.
    cwd : Path
        Its working folder.
    notes : Path
        A folder for what it writes to its streams, outside of `root`.
    fault : CallFault, optional
        What happens at file call number `at` below `root`; with 0, calls are only counted.
    """
    folder = notes / str(next(_numbers))
    folder.mkdir(parents=True)
    for name in ("out", "err", "at", "calls"):
        (folder / name).touch()
    sys.stdout.flush()
    sys.stderr.flush()
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        return Child(pid, folder)
    code = 70
    try:
        os.setsid()
        # A shell without job control starts commands in the background with SIGINT ignored.
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        for stream, name, flags in ((0, "/dev/null", os.O_RDONLY), (1, "out", os.O_WRONLY), (2, "err", os.O_WRONLY)):
            os.dup2(os.open(folder / name, flags | os.O_APPEND), stream)
        report = os.open(folder / "at", os.O_WRONLY)
        os.chdir(cwd)
        known = preloaded()
        if fault is not None and known is not None:
            action = fault.action if at else COUNT
            where = os.fsencode(root or cwd)
            known.faults_arm(where, action, fault.counted, fault.lasting, ctypes.c_long(at), fault.error, report)
        code = _code_of(act)
        if fault is not None and known is not None:
            calls = known.faults_calls()
            known.faults_arm(b"", COUNT, 0, 0, ctypes.c_long(0), 0, -1)
            (folder / "calls").write_text(str(calls))
    finally:
        os._exit(code)


def _code_of(act: Callable[[], int]) -> int:
    """Run the function and what Python runs at the end of a process; return its exit code."""
    import traceback

    code: Any = 1
    try:
        code = act()
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        traceback.print_exc()
    with contextlib.suppress(BaseException):
        # In this order; the first tells worker processes to end.
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    return code if isinstance(code, int) else 0 if code is None else 1


def command(*words: object) -> Callable[[], int]:
    """The function that runs a command line as its process does, once that handles signals."""

    def act() -> int:
        from initpools_cli.cli import app

        sys.argv = ["initpools", *map(str, words)]
        for number in SIGNALS:
            signal.signal(number, app._stop)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        app.main()
        return 0

    return act


def new_process(*words: object) -> Callable[[], int]:
    """The function that runs a command line in a new process, which starts Python and imports everything."""

    def act() -> int:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        os.execv(sys.executable, [sys.executable, "-m", "initpools_cli", *map(str, words)])

    return act


@contextlib.contextmanager
def environment(**values: str) -> Iterator[None]:
    """Set environment variables for the processes that are forked meanwhile."""
    before = dict(os.environ)
    os.environ |= values
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
