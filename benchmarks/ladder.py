"""Claim: of ten million images, kcenter and stratified choose 1,000 in 10 minutes, and the others in an hour, in 4 GB.

Strategies choose from 10,000 images and so on up to ten million, whose embeddings (256 dimensions, float16, 5 GB; see
points.py) are read from a memory-mapped file. Every run is a process of its own. Memory is the peak beside the pages of
the file that are in memory. `read` is what was read from the file, in GB, where it is read in blocks. `distance` is the
mean distance of 20,000 random images to the nearest pick; compare it with that of `random`.

    python benchmarks/ladder.py FOLDER [NAME[:knob=value,...] ...] [--peers] [--n N ...] [--budget B]
                                [--limit SECONDS] [--threads T]
    python benchmarks/ladder.py --draw

The embeddings are written to FOLDER once. Each run is a line in benchmarks/results/ladder.csv, and what has a line
there is not run again. After a run that takes longer than the limit, larger numbers of images are not tried. With
--peers other libraries choose from the same embeddings, which they need in memory in float32. In the end
benchmarks/results/ladder.svg is drawn from all lines.
"""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path

import implementations
import numpy as np
from comparisons import label, parsed
from points import clustered
from process import answer, in_process, measured, task
from record import RESULTS, record, recorded, show
from size_chart import draw

from initpools_cli.core.cpu import machine
from initpools_cli.geometry.neighbors import nearest
from initpools_cli.geometry.normalize import unit_rows
from initpools_cli.geometry.rows import Rows

SIZES, DIMENSIONS = (10_000, 100_000, 1_281_167, 10_000_000), 256
NAMES = (
    "random",
    "kcenter",
    "stratified",
    "kmeans",
    "kmeans++",
    "typiclust",
    "hierarchical-kmeans",
    "semdedup",
    "prototypicality",
    "typicality:probes=16",
    "facility-location:sample=20000",
    "maxherding:sample=20000",
)
LIMIT, GIGABYTES, SAMPLE = 3600, 4.0, 20_000
# The most images for peers in FOR_FEW_IMAGES.
FEW = 10_000


def work():
    """The worker: one strategy at one size."""
    cell = task()
    points = np.load(cell["file"], mmap_mode="r")[: cell["n"]]
    if cell["strategy"] in implementations.PEERS:
        run = partial(in_memory, implementations.PEERS[cell["strategy"]], points, cell["budget"])
    else:
        run = implementations.ours(points, cell["budget"], cell["strategy"], cell["knobs"])
    lengths = count_reads()
    picks, seconds, taken = measured(run)
    read = sum(lengths) * points[0].nbytes
    answer(seconds=seconds, bytes=taken - pages(cell["file"]), read=read, distance=mean_distance(points, picks))


def in_memory(build, points, budget):
    """The picks of a peer, which needs all embeddings in memory and in float32."""
    return build(points.astype(np.float32), budget)()


def count_reads():
    """Return a list to which every later read of a block of stored rows adds its number of rows."""
    read, lengths = Rows.__getitem__, []

    def counted(self, at):
        block = read(self, at)
        if block.ndim == 2:
            lengths.append(len(block))
        return block

    Rows.__getitem__ = counted
    return lengths


def pages(file):
    """Bytes of the file's pages that this process has in memory."""
    lines, counted, resident = Path("/proc/self/smaps").read_text().splitlines(), False, 0
    for line in lines:
        if "-" in line.split(" ")[0]:
            counted = line.endswith(str(Path(file).resolve()))
        elif counted and line.startswith("Rss:"):
            resident += int(line.split()[1]) * 1024
    return resident


def mean_distance(points, picks):
    """Mean distance of random images from the nearest pick."""
    rows = np.sort(np.random.default_rng(0).choice(len(points), min(SAMPLE, len(points)), replace=False))
    sample, chosen = (unit_rows(np.asarray(points[each], np.float32)) for each in (rows, np.sort(picks)))
    return float(nearest(sample, chosen)[1].mean())


def line(cell, file, knobs, args):
    work = {**cell, "strategy": cell["strategy"].split(":")[0], "knobs": knobs, "file": str(file)}
    answers = in_process(__file__, work, args.threads, args.limit)
    return {
        **machine(),
        "numpy": np.__version__,
        "d": DIMENSIONS,
        **cell,
        "limit": args.limit,
        "status": answers["status"],
        "seconds": f"{answers['seconds']:.4g}" if "seconds" in answers else "",
        "gigabytes": f"{answers['bytes'] / 1e9:.2f}" if "distance" in answers else "",
        "read": f"{answers['read'] / 1e9:.1f}" if "read" in answers else "",
        "distance": f"{answers['distance']:.4f}" if "distance" in answers else "",
    }


def arguments():
    parser = argparse.ArgumentParser(description="Choose from up to ten million images.")
    parser.add_argument("folder", nargs="?", type=Path, help="where the generated embeddings are kept")
    parser.add_argument("names", nargs="*", metavar="NAME[:knob=value,...]", help="default: all, unless --peers")
    parser.add_argument("--peers", action="store_true", help="other libraries, too")
    parser.add_argument("--n", type=int, nargs="+", default=SIZES, help="numbers of images")
    parser.add_argument("--budget", type=int, default=1000)
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds for one run")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--draw", action="store_true", help="only draw what has been recorded")
    args = parser.parse_args()
    if not args.draw and args.folder is None:
        parser.error("name a folder for the embeddings, or --draw")
    if not args.names and not args.peers:
        args.names = NAMES
    return args


def main():
    if task():
        work()
        return
    args = arguments()
    if not args.draw:
        measure(clustered(args.folder, max(args.n), DIMENSIONS, np.float16), args)
    draw(RESULTS / "ladder.csv", RESULTS / "ladder.svg", ("gigabytes", "peak memory in GB"), GIGABYTES)


def measure(file, args):
    """Run and record the selections that have no line yet."""
    for strategy, knobs in map(parsed, [*args.names, *(implementations.PEERS if args.peers else [])]):
        for n in sorted(args.n):
            if strategy in implementations.FOR_FEW_IMAGES and n > FEW:
                break
            cell = {"strategy": label(strategy, knobs), "n": n, "budget": args.budget, "threads": args.threads}
            status = recorded("ladder", cell)
            if status is None:
                row = line(cell, file, knobs, args)
                record("ladder", row)
                show(row)
                print(flush=True)
                status = row["status"]
            if status != "done":
                break


if __name__ == "__main__":
    main()
