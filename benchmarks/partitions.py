"""Claim: a selection in two rounds keeps 0.98 of what a selection from all images at once gains over a random one.

Strategies that compare all pairs of images choose a budget from all images at once (`whole`), in two rounds
(`partitions=P`), and from 20,000 random images (`sample=20000`); `random` is a random choice. Each runs in a process of
its own, and its value is the objective over all images, computed plainly (quality.py). What takes longer than the limit
is stopped: then there is no whole to compare with. Partitions with fewer images than the budget are left out.

    python benchmarks/partitions.py FOLDER [EMBEDDINGS.npy ...] [--n N ...] [--d D] [--budget B] [--partitions P ...]
                                    [--strategies NAME ...] [--threads T] [--limit SECONDS]
    python benchmarks/partitions.py --compare

The default is generated embeddings (points.py) of 50,000 and 1,281,167 rows, kept in FOLDER (many hours); those of
files are read as they are, scaled to length 1. Each result is a line in benchmarks/results/partitions.csv, and what has
a line there is not run again. In the end, and with --compare, losses are printed.
"""

from __future__ import annotations

import implementations
import numpy as np
import pandas as pd
import quality
from arguments import embeddings_parser, parse
from comparisons import ball_radius
from points import clustered, write_sample
from process import answer, in_process, measured, task
from record import RESULTS, record, recorded, show

from initpools_cli.core.cpu import machine

SIZES, PARTITIONS, LIMIT, CLAIM = (50_000, 1_281_167), (4, 16, 64), 4 * 3600, 0.98
STRATEGIES = ("facility-location", "maxherding", "uherding", "probcover", "graph-cut", "log-det", "disparity")
WARM_UP = 2000
CELL = ["data", "n", "d", "budget", "threads", "strategy", "way"]


def settings_of(way):
    """The keywords of `select` for "whole", "partitions=4" or "sample=20000"."""
    name, _, value = way.partition("=")
    return {name: int(value)} if value else {}


def work():
    """The worker: one selection, and the value of its picks."""
    job = task()
    points = np.load(job["file"], mmap_mode="r")[: job["n"]]
    radius, strategy = ball_radius(points, job["budget"]), job["strategy"]
    knobs = {"delta": radius} if strategy == "probcover" else {}
    if job["way"] == "random":
        run = implementations.ours(points, job["budget"], "random", {})
    else:
        implementations.ours(np.array(points[:WARM_UP]), 20, strategy, knobs)()
        run = implementations.ours(points, job["budget"], strategy, knobs | settings_of(job["way"]))
    picks, seconds, peak = measured(run)
    answer(seconds=seconds, bytes=peak, value=quality.OBJECTIVES[strategy][1](points, picks, radius))


def ways(n, args):
    fitting = [f"partitions={count}" for count in args.partitions if n // count >= args.budget]
    return ["random", "whole", *fitting, *(["sample=20000"] if n > 20_000 else [])]


def race(data, file, n, args):
    """Run the selections of one file that are not recorded yet."""
    d = np.load(file, mmap_mode="r").shape[1]
    for strategy in args.strategies:
        for way in ways(n, args):
            cell = dict(zip(CELL, (data, n, d, args.budget, args.threads, strategy, way), strict=True))
            if recorded("partitions", cell) is None:
                result = in_process(__file__, {**cell, "file": str(file)}, args.threads, args.limit)
                row = line(cell, result)
                record("partitions", row)
                show(row)


def line(cell, result):
    is_done = result["status"] == "done"
    memory = result["bytes"] / (4 * cell["n"] * cell["d"]) if "bytes" in result else None
    return {
        **machine(),
        "numpy": np.__version__,
        **cell,
        "status": result["status"],
        "seconds": f"{result['seconds']:.4g}" if "seconds" in result else "",
        "objective": quality.OBJECTIVES[cell["strategy"]][0],
        "value": f"{result['value']:.6g}" if is_done else "",
        "memory": "" if memory is None else f"{memory:.3g}",
    }


def compare(rows):
    """Print the seconds of each way, and its share of what the whole gains over random picks."""
    holds = []
    for names, own in rows.drop_duplicates(CELL, keep="last").groupby(CELL[:-1]):
        value, seconds = own.set_index("way")["value"], own.set_index("way")["seconds"]
        gain = value.get("whole", np.nan) - value.get("random", np.nan)
        print(" ".join(map(str, names)))
        for way in own["way"]:
            share = (value[way] - value["random"]) / gain
            print(f"  {way:14} {seconds[way]:>10.4g} s  value {value[way]:.6g}  share of the gain {share:.4f}")
            if way.startswith("partitions") and np.isfinite(share):
                holds.append(share >= CLAIM)
    print(f"The claim (a share of at least {CLAIM:g}) holds in {sum(holds)} of {len(holds)} selections in two rounds.")


def results():
    file = RESULTS / "partitions.csv"
    return pd.read_csv(file) if file.exists() else pd.DataFrame(columns=[*CELL, "value", "seconds"])


def arguments():
    parser = embeddings_parser("Measure what a selection in two rounds loses.", SIZES, LIMIT)
    parser.add_argument("--budget", type=int, default=1000)
    parser.add_argument("--partitions", type=int, nargs="+", default=PARTITIONS)
    parser.add_argument("--strategies", nargs="+", choices=STRATEGIES, default=STRATEGIES)
    return parse(parser)


def main():
    if task() is not None:
        return work()
    args = arguments()
    if not args.compare:
        for source in args.files:
            file, n = args.folder / f"unit-{source.stem}.npy", len(np.load(source, mmap_mode="r"))
            if not file.exists():
                args.folder.mkdir(parents=True, exist_ok=True)
                write_sample(file, source, n)
            race(source.stem, file, n, args)
        for n in [] if args.files else sorted(args.n):
            race("generated", clustered(args.folder, n, args.d), n, args)
    compare(results())


if __name__ == "__main__":
    main()
