"""Bytes that a selection on a cluster keeps until it is finished, for each image.

The calls are made in this process, as a cluster would make them. The embeddings are generated (points.py). Results are
lines in benchmarks/results/calls.csv; what has a line there is not run again.

    python benchmarks/calls.py
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import numpy as np
from points import write_clustered
from record import record, recorded, show

from initpools_cli.core.call_log import CallLog
from initpools_cli.geometry.resumable import ResumableExecutor
from initpools_cli.geometry.rows import on_executor
from initpools_cli.strategies.select import choose

N, D = 50_000, 256
BUDGETS = {"kcenter": 1000, "kmeans": 100, "kmeans++": 100}


class InThisProcess:
    """Calls functions one after the other."""

    def completed(self, function, jobs):
        for number, job in enumerate(jobs):
            yield number, function(*job)


def main():
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "points.npy"
        write_clustered(file, N, D, np.float16)
        for strategy, budget in BUDGETS.items():
            cell = {"n": N, "d": D, "strategy": strategy, "budget": budget}
            if recorded("calls", cell) is not None:
                continue
            path = Path(folder) / f"{strategy}.calls"
            log = CallLog(path, 1 << 40, print)
            with contextlib.closing(log), on_executor(ResumableExecutor(InThisProcess(), log)):
                choose(strategy, {"embeddings": np.load(file, mmap_mode="r")}, budget)
            row = {**cell, "status": "done", "calls": len(log), "bytes": path.stat().st_size}
            record("calls", row)
            show(row)


if __name__ == "__main__":
    main()
