"""Work in a process of its own: held to some threads, stopped at a time limit, its peak of memory measured (Linux).

A script that calls `in_process` is started once more with ``--worker`` and its task; there `task` gives the task back,
`measured` goes around what counts, and `answer` ends it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LIMITED = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS")
POLL = 0.2


def in_process(script, work, threads, limit=None):
    """The worker's answer, with ``status``: "done"; "stopped" at the limit (seconds); or how it failed.

    The limit counts from where the measuring starts, so that loading does not count.
    """
    with tempfile.TemporaryDirectory() as folder:
        messages = Path(folder) / "messages"
        messages.touch()
        worker = subprocess.Popen(
            [sys.executable, script, "--worker", json.dumps(work), str(messages)],
            env={**os.environ, **dict.fromkeys(LIMITED, str(threads))},
        )
        try:
            while True:
                try:
                    worker.wait(POLL)
                    facts = _messages(messages)
                    return facts if "status" in facts else {"status": f"failed ({worker.returncode})"}
                except subprocess.TimeoutExpired:
                    facts = _messages(messages)
                    if limit and "started" in facts and time.time() - facts["started"] > limit:
                        peak = resident("VmHWM", worker.pid) - facts["resident"]
                        return {"status": "stopped", "seconds": limit, "bytes": peak}
        finally:
            worker.kill()
            worker.wait()


def _messages(file):
    lines = file.read_text().splitlines(keepends=True)
    return {key: value for line in lines if line.endswith("\n") for key, value in json.loads(line).items()}


def _send(**values):
    with Path(sys.argv[3]).open("a") as stream:
        stream.write(json.dumps(values) + "\n")


def task():
    """The worker's task; None in a process that is no worker."""
    return json.loads(sys.argv[2]) if sys.argv[1:2] == ["--worker"] else None


def answer(**values):
    _send(status="done", **values)


def resident(field, process="self"):
    """A field of /proc/PID/status in bytes: VmRSS is what is in memory now, VmHWM the most there ever was."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def measured(run):
    """What `run` gives, its seconds, and the bytes that it had in memory at most beyond those there before."""
    # Sets the peak back to what there is now.
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    _send(resident=before, started=time.time())
    start = time.perf_counter()
    result = run()
    seconds = time.perf_counter() - start
    return result, seconds, resident("VmHWM") - before
