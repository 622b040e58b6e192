"""Seconds and recall of approximate nearest neighbors by faiss (`geometry/ivf.py`), by number of probes.

The 20 nearest other rows are searched, in a process of its own for each number of probes, with plain lists and with
product quantization. The lists are made of all rows. Then a random share of the blocks of queries is searched, and the
seconds are those of the lists plus those of the search, scaled to all rows. Recall is measured on 1,000 random rows of
those that were searched.

    python benchmarks/index.py FOLDER [EMBEDDINGS.npy ...] [--n N ...] [--d D] [--share S] [--probes P ...]
                               [--search NAME ...] [--k K] [--threads T] [--limit SECONDS]
    python benchmarks/index.py --compare

The default is generated embeddings (points.py). Those of files are reduced to their D first principal components and
repeated with jitter up to N rows, scaled to length 1. What is made is kept in FOLDER. Each result is a line in
benchmarks/results/index.csv, and what has a line there is not run again. In the end, and with --compare, the fastest
runs with a recall of at least 0.9, 0.95 and 0.99 are compared.

The lines of the search `lists` are of a hand-written inverted file, which faiss replaced: it would have stayed had it
been more than twice as fast at equal recall, and it was 1.3 to 1.6 times as fast on generated rows, and slower on those
of CIFAR-10 (``train``) with jitter.
"""

from __future__ import annotations

import time

import faiss
import numpy as np
import pandas as pd
from arguments import embeddings_parser, parse
from points import write_clustered, write_jittered
from process import answer, in_process, measured, task
from record import RESULTS, record, recorded, show

from initpools_cli.core.cpu import machine
from initpools_cli.geometry import ivf
from initpools_cli.geometry.chunked import map_blocks
from initpools_cli.geometry.neighbors import nearest_k

SIZES, PROBES, LIMIT = (1_281_167,), (2, 4, 8, 16, 32, 64), 3600
SEARCHES = ("ivf", "ivf-pq")
RECALLS, SAMPLE = (0.9, 0.95, 0.99), 1000
CELL = ["data", "n", "d", "k", "threads", "search", "probes"]


class Sampled:
    """`map_blocks` that runs a random share of the blocks of queries, and every other block.

    Attributes
    ----------
    started : float
        When the search began.
    """

    def __init__(self, share):
        self.share = share

    def __call__(self, function, n, block, threads=None):
        if function.__name__ != "search_block":
            return map_blocks(function, n, block, threads)
        starts = np.arange(0, n, block)
        sample = np.random.default_rng(0).permutation(len(starts))[: max(1, round(self.share * len(starts)))]
        block_starts = np.sort(starts[sample])
        self.started = time.perf_counter()
        return map_blocks(
            lambda at: function(slice(block_starts[at.start], min(block_starts[at.start] + block, n))),
            len(block_starts),
            1,
            threads,
        )


def work():
    """The worker: one search with one number of probes."""
    job = task()
    points = read(job["file"], job["n"])
    if job["search"] == "ivf-pq":
        ivf.MOST_BYTES = 0
    else:
        ivf.MOST_BYTES = np.inf
    k, threads = job["k"], job["threads"]
    ivf.each_in_ivf(points[:2000], k, lambda *_: None, 2, threads)
    ivf.map_blocks = sampler = Sampled(job["share"])
    rows, distances = [], []

    def take(own, _, sq_distances):
        rows.append(own)
        distances.append(sq_distances)

    start = time.perf_counter()
    _, seconds, peak = measured(lambda: ivf.each_in_ivf(points, k, take, job["probes"], threads))
    rows, distances = np.concatenate(rows), np.concatenate(distances)
    build = sampler.started - start
    answer(
        build=build,
        seconds=build + (seconds - build) * len(points) / len(np.unique(rows)),
        bytes=peak,
        recall=recall(points, rows, distances, k, threads),
    )


def read(file, n):
    """Read n rows as float32, in parts."""
    rows = np.load(file, mmap_mode="r")
    points = np.empty((n, rows.shape[1]), np.float32)
    for start in range(0, n, 2**16):
        points[start : start + 2**16] = rows[start : min(start + 2**16, n)]
    return points


def recall(points, rows, sq_distances, k, threads):
    """Share of the neighbors, of random rows among those searched, that are as near as the k-th exact one."""
    # Rows that are searched a second time, exactly, count once, by their last search.
    last = np.unique(rows[::-1], return_index=True)[1]
    sample = len(rows) - 1 - np.random.default_rng(0).permutation(last)[:SAMPLE]
    # The row itself is at distance 0, as are its copies.
    exact = nearest_k(points[rows[sample]], points, k + 1, threads)[1][:, -1:]
    return float((np.sqrt(sq_distances[sample]) <= exact * (1 + 1e-6)).mean())


def race(data, file, n, args):
    """Run the searches of one file that are not recorded yet."""
    d = np.load(file, mmap_mode="r").shape[1]
    for search in args.search:
        for probes in sorted(args.probes):
            cell = dict(zip(CELL, (data, n, d, args.k, args.threads, search, probes), strict=True))
            status = recorded("index", cell)
            if status is None:
                result = in_process(
                    __file__, {**cell, "file": str(file), "share": args.share}, args.threads, args.limit
                )
                row = line(cell, result, args.share)
                record("index", row)
                show(row)
                status = result["status"]
            if status != "done":
                break


def results():
    file = RESULTS / "index.csv"
    return pd.read_csv(file) if file.exists() else pd.DataFrame(columns=CELL)


def line(cell, result, share):
    is_done = result["status"] == "done"
    return {
        **machine(),
        "numpy": np.__version__,
        "faiss": faiss.__version__,
        **cell,
        "share": share,
        "status": result["status"],
        "build": f"{result['build']:.4g}" if is_done else "",
        "seconds": f"{result['seconds']:.4g}" if is_done else "",
        "recall": f"{result['recall']:.4f}" if is_done else "",
        "memory": f"{result['bytes'] / (4 * cell['n'] * cell['d']):.3g}" if "bytes" in result else "",
    }


def compare(rows):
    """Print, for each data set and recall, the fastest run of each search that reaches it."""
    if not len(rows):
        print("There are no results yet.")
    for names, own in rows[rows["status"] == "done"].groupby(CELL[:5]):
        for recall in RECALLS:
            best = own[own["recall"] >= recall].groupby("search")["seconds"].min()
            text = ", ".join(f"{name} {seconds:.4g} s" for name, seconds in best.items())
            print(f"{' '.join(map(str, names))}: recall {recall:g}: {text or 'not reached'}")


def arguments():
    parser = embeddings_parser("Measure approximate nearest neighbors by faiss.", SIZES, LIMIT)
    parser.add_argument("--k", type=int, default=20)
    parser.add_argument("--share", type=float, default=0.02, help="share of the blocks of queries that are searched")
    parser.add_argument("--probes", type=int, nargs="+", default=PROBES)
    parser.add_argument("--search", nargs="+", choices=SEARCHES, default=SEARCHES)
    return parse(parser)


def prepared(source, args):
    """The name of the data and the file of all rows, which is written where it is missing."""
    name = source.stem if source else "generated"
    most = max(args.n)
    file = args.folder / (
        f"{name}-jittered-{most}x{args.d}.npy" if source else f"clustered-{most}x{args.d}-float16.npy"
    )
    if not file.exists():
        args.folder.mkdir(parents=True, exist_ok=True)
        if source:
            write_jittered(file, source, most, args.d)
        else:
            write_clustered(file, most, args.d, np.float16)
    return name, file


def main():
    if task() is not None:
        return work()
    args = arguments()
    if not args.compare:
        for source in args.files or [None]:
            name, file = prepared(source, args)
            for n in sorted(args.n):
                race(name, file, n, args)
    compare(results())


if __name__ == "__main__":
    main()
