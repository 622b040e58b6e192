"""Claim: at equal recall, the hand-written inverted file is at most twice as fast as that of faiss, so it can go.

Both search the 20 nearest other rows of every row, in a process of its own for each number of probes: the hand-written
lists (`geometry/inverted_file.py`) and faiss (`geometry/ivf.py`), plain and with product quantization. Recall is
measured on 1,000 random rows. A process that exceeds the limit is stopped, and more probes are not tried.

    python benchmarks/index.py FOLDER [EMBEDDINGS.npy ...] [--n N ...] [--d D] [--probes P ...] [--k K] [--threads T]
                               [--limit SECONDS]
    python benchmarks/index.py --compare

The default is generated embeddings (points.py) of 50,000, 200,000 and 1,000,000 rows, kept in FOLDER (hours); those of
files are read as they are, scaled to length 1. Each result is a line in benchmarks/results/index.csv, and what has a
line there is not run again. In the end, and with --compare, the fastest runs with a recall of at least 0.9, 0.95 and
0.99 are compared.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import faiss
import numpy as np
import pandas as pd
from growth import embeddings
from points import write_sample
from process import answer, in_process, measured, task
from record import RESULTS, record, recorded, show

from initpools_cli.core.cpu import machine
from initpools_cli.geometry import ivf
from initpools_cli.geometry.inverted_file import each_in_lists
from initpools_cli.geometry.knn import knn
from initpools_cli.geometry.neighbors import nearest_k

SIZES, PROBES, LIMIT = (50_000, 200_000, 1_000_000), (2, 4, 8, 16, 32, 64), 3600
SEARCHES = ("lists", "ivf", "ivf-pq")
RECALLS, SAMPLE, CLAIM = (0.9, 0.95, 0.99), 1000, 2.0
CELL = ["data", "n", "d", "k", "threads", "search", "probes"]


def work():
    """The worker: one search with one number of probes."""
    given = task()
    points = np.array(np.load(given["file"], mmap_mode="r")[: given["n"]], np.float32)
    if given["search"] == "ivf-pq":
        ivf.MOST_BYTES = 0
    search = each_in_lists if given["search"] == "lists" else ivf.each_in_ivf
    k, threads = given["k"], given["threads"]
    knn(points[:2000], k, threads, probes=2, approximate=search)
    found, seconds, taken = measured(lambda: knn(points, k, threads, probes=given["probes"], approximate=search))
    rows = np.sort(np.random.default_rng(0).choice(len(points), SAMPLE, replace=False))
    # The row itself is at distance 0, as are its copies.
    exact = nearest_k(points[rows], points, k + 1, threads)[1][:, 1:]
    answer(seconds=seconds, bytes=taken, recall=float((found[1][rows] <= exact[:, -1:]).mean()))


def race(data, file, n, given):
    """Run the searches of one file that are not recorded yet."""
    d = np.load(file, mmap_mode="r").shape[1]
    for search in SEARCHES:
        for probes in sorted(given.probes):
            cell = dict(zip(CELL, (data, n, d, given.k, given.threads, search, probes), strict=True))
            status = recorded("index", cell)
            if status is None:
                found = in_process(__file__, {**cell, "file": str(file)}, given.threads, given.limit)
                row = line(cell, found)
                record("index", row)
                show(row)
                status = found["status"]
            if status != "done":
                break


def results():
    file = RESULTS / "index.csv"
    return pd.read_csv(file) if file.exists() else pd.DataFrame(columns=CELL)


def line(cell, found):
    return {
        **machine(),
        "numpy": np.__version__,
        "faiss": faiss.__version__,
        **cell,
        "status": found["status"],
        "seconds": f"{found['seconds']:.4g}" if "seconds" in found else "",
        "recall": f"{found['recall']:.4f}" if "recall" in found else "",
        "memory": f"{found['bytes'] / (4 * cell['n'] * cell['d']):.3g}" if "bytes" in found else "",
    }


def compare(rows):
    """Print, for each data set and recall, the fastest run of each search that reaches it."""
    if not len(rows):
        return print("There are no results yet.")
    holds = []
    for names, own in rows[rows["status"] == "done"].groupby(CELL[:5]):
        for recall in RECALLS:
            best = own[own["recall"] >= recall].groupby("search")["seconds"].min()
            text = ", ".join(f"{name} {best[name]:.4g} s" for name in SEARCHES if name in best)
            ratio = best["ivf"] / best["lists"] if {"ivf", "lists"} <= {*best.index} else np.nan
            holds += [ratio <= CLAIM] if np.isfinite(ratio) else []
            print(f"{' '.join(map(str, names))}: recall {recall:g}: {text or 'not reached'}; ivf / lists {ratio:.2f}")
    print(f"The claim (ivf / lists at most {CLAIM:g}) holds in {sum(holds)} of {len(holds)} comparisons.")


def arguments():
    parser = argparse.ArgumentParser(description="Race the inverted files at equal recall.")
    parser.add_argument("folder", nargs="?", type=Path, help="where generated embeddings are kept")
    parser.add_argument("files", nargs="*", type=Path, help="embeddings; default: generated ones")
    parser.add_argument("--n", type=int, nargs="+", default=SIZES, help="numbers of generated embeddings")
    parser.add_argument("--d", type=int, default=512)
    parser.add_argument("--k", type=int, default=20)
    parser.add_argument("--probes", type=int, nargs="+", default=PROBES)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds for one search")
    parser.add_argument("--compare", action="store_true", help="only compare what has been recorded")
    given = parser.parse_args()
    if not given.compare and given.folder is None:
        parser.error("name a folder for the embeddings, or --compare")
    return given


def main():
    if task() is not None:
        return work()
    given = arguments()
    if not given.compare:
        for source in given.files:
            file, n = given.folder / f"unit-{source.stem}.npy", len(np.load(source, mmap_mode="r"))
            if not file.exists():
                given.folder.mkdir(parents=True, exist_ok=True)
                write_sample(file, source, n)
            race(source.stem, file, n, given)
        for n in [] if given.files else sorted(given.n):
            race("generated", embeddings(given.folder, n, given.d), n, given)
    compare(results())


if __name__ == "__main__":
    main()
