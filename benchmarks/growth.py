"""Claim: at 1,281,167 images every strategy chooses 1,000 in 10 minutes and twice the embeddings' memory.

Each strategy that needs embeddings alone runs at 10,000 images and so on up to ImageNet's 1,281,167, with 512
dimensions (2.6 GB, read from a memory-mapped file; generated, see points.py), each run in a process of its own. Memory
is the peak above what is there once the file has been read through, as a multiple of the embeddings' bytes. A run that
takes longer than the limit is stopped, is written down as such, and larger numbers of images are not tried.

    python benchmarks/growth.py FOLDER [NAME[:knob=value,...] ...] [--n N ...] [--budget B] [--d D] [--limit SECONDS]
                                [--threads T]
    python benchmarks/growth.py --draw

The embeddings are written to FOLDER once. Adds lines to benchmarks/results/growth.csv (some hours) and draws
benchmarks/results/growth.svg from all there are; the last line of a strategy and a number of images counts.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import implementations
import numpy as np
from comparisons import MEMORY, WARM_UP, from_embeddings_alone, in_embeddings, label, parsed, yes
from points import clustered
from process import answer, in_process, measured, task
from record import RESULTS, record, show
from size_chart import draw

from initpools_cli.core.cpu import machine

SIZES = (10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_281_167)
LIMIT = 600
BLOCK = 2**16


def work():
    """The worker: one strategy at one size."""
    job = task()
    points = np.load(job["file"], mmap_mode="r")[: job["n"]]
    for start in range(0, len(points), BLOCK):
        # Read through, all of the file is in memory, and what is there later is the strategy's.
        points[start : start + BLOCK].max()
    few = np.array(points[:WARM_UP])
    implementations.ours(few, min(job["budget"], len(few) // 16), job["strategy"], job["knobs"])()
    _, seconds, peak = measured(implementations.ours(points, job["budget"], job["strategy"], job["knobs"]))
    answer(seconds=seconds, bytes=peak)


def line(strategy, knobs, n, file, args):
    job = {"strategy": strategy, "knobs": knobs, "n": n, "file": str(file), "budget": args.budget}
    result = in_process(__file__, job, args.threads, args.limit)
    points = np.load(file, mmap_mode="r")[:n]
    good = result["status"] == "done" and result["seconds"] <= LIMIT and result["bytes"] <= MEMORY * points.nbytes
    return {
        **machine(),
        "numpy": np.__version__,
        "strategy": label(strategy, knobs),
        "data": "generated",
        "n": n,
        "d": points.shape[1],
        "budget": args.budget,
        "threads": args.threads,
        "limit": args.limit,
        "status": result["status"],
        "seconds": f"{result['seconds']:.4g}" if "seconds" in result else "",
        "memory": in_embeddings(result.get("bytes"), points),
        "met": yes(good),
    }


def arguments():
    parser = argparse.ArgumentParser(description="Time every strategy at growing numbers of images.")
    parser.add_argument("folder", nargs="?", type=Path, help="where the generated embeddings are kept")
    parser.add_argument("names", nargs="*", metavar="NAME[:knob=value,...]", help="default: all")
    parser.add_argument("--n", type=int, nargs="+", default=SIZES, help="numbers of images")
    parser.add_argument("--d", type=int, default=512)
    parser.add_argument("--budget", type=int, default=1000)
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds for one run")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--draw", action="store_true", help="only draw what has been recorded")
    args = parser.parse_args()
    if not args.draw and args.folder is None:
        parser.error("name a folder for the embeddings, or --draw")
    return args


def main():
    if task():
        work()
        return
    args = arguments()
    if not args.draw:
        file = clustered(args.folder, max(args.n), args.d)
        for strategy, knobs in map(parsed, args.names or from_embeddings_alone()):
            for n in sorted(args.n):
                row = line(strategy, knobs, n, file, args)
                record("growth", row)
                show(row)
                print(flush=True)
                if row["status"] != "done":
                    break
    draw(
        RESULTS / "growth.csv",
        RESULTS / "growth.svg",
        ("memory", "peak memory, as a multiple of the embeddings"),
        MEMORY,
    )


if __name__ == "__main__":
    main()
