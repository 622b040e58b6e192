"""What `select.py` compares, and the lines that it records."""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import implementations
import numpy as np
import quality
import tomli
from points import write_clustered, write_logits, write_sample
from process import answer, in_process, measured, task
from record import record, show

from initpools_cli.core.cpu import machine

ROUNDS = 3
# Seconds; what takes longer runs once.
SLOW = 60
LARGE, SMALL = (50_000, 1_000), (20_000, 100)
MEMORY = 2.0
WARM_UP = 256
OURS = -1


@dataclass(frozen=True)
class Peer:
    """An implementation that ours is compared with.

    `build` takes points, budget and the keywords that `agree` returns for the ball radius; ours shall be faster by the
    factor `goal`.
    """

    name: str
    package: str
    build: Callable[..., Callable[[], np.ndarray]]
    goal: float = 0.0
    agree: Callable[[float], dict[str, Any]] = lambda radius: {}


@dataclass(frozen=True)
class Comparison:
    """One strategy at one size; `seconds` is the claimed limit, if any."""

    strategy: str
    n: int
    budget: int
    peers: tuple[Peer, ...] = ()
    knobs: dict[str, Any] = field(default_factory=dict)
    # Returns keywords for the ball radius; both sides use the same.
    agree: Callable[[float], dict[str, Any]] = lambda radius: {}
    classes: int = 0
    seconds: float = 0.0


#: For a strategy that is timed alone.
NO_PEER = Peer("", "", implementations.ours)


def activeml(name, goal, agree=lambda radius: {}, **options):
    return Peer(
        "scikit-activeml", "scikit-activeml", partial(implementations.activeml, name=name, **options), goal, agree
    )


#: With peers, and the full ranking by logits.
COMPARISONS = (
    Comparison(
        "kcenter",
        *LARGE,
        (
            Peer("NumPy loop", "numpy", implementations.numpy_kcenter, 4),
            Peer("torch loop", "torch", implementations.torch_kcenter, 4),
            Peer("lightly-mundig", "lightly-mundig", implementations.mundig_kcenter, 3),
        ),
    ),
    Comparison("kcenter", 90_000, 90_000, classes=9, knobs={"normalize": False}, seconds=60),
    Comparison(
        "typicality", *SMALL, (Peer("lightly-mundig", "lightly-mundig", implementations.mundig_typicality, 10),)
    ),
    # Its k is 5 where the paper's and ours is 20.
    Comparison("typiclust", *SMALL, (activeml("TypiClust", 5, k=20),)),
    # The same delta to both: a single one spares the peer its clustering and its search.
    Comparison(
        "probcover",
        *SMALL,
        (activeml("ProbCover", 8, agree=lambda radius: {"deltas": [radius]}),),
        agree=lambda radius: {"delta": radius},
    ),
    # Each chooses its delta: ours is the largest pure one, the peer's the largest pure one of ten.
    Comparison("probcover", *SMALL, (activeml("ProbCover", 8, n_classes=20),), knobs={"n_clusters": 20}),
    # gamma = 1 / bandwidth².
    Comparison("maxherding", *SMALL, (activeml("MaxHerding", 20, metric_dict={"gamma": 1.0}),)),
    Comparison(
        "facility-location", *SMALL, (Peer("apricot", "apricot-select", implementations.apricot_facility_location, 4),)
    ),
    Comparison("graph-cut", *SMALL, (Peer("apricot", "apricot-select", implementations.apricot_graph_cut),)),
    Comparison("kmeans", *SMALL, (Peer("scikit-learn", "scikit-learn", implementations.sklearn_kmeans),)),
    Comparison("kmeans++", *SMALL, (Peer("scikit-learn", "scikit-learn", implementations.sklearn_kmeanspp),)),
    Comparison("activeft", *SMALL, (Peer("torch loop", "torch", implementations.torch_activeft),)),
)


def from_embeddings_alone():
    """The names of the strategies, scores among them, that need embeddings and nothing else."""
    from initpools_cli.scores.registry import scores
    from initpools_cli.strategies.registry import strategies

    return [method.name for methods in (strategies, scores) for method in methods if {*method.inputs} == {"embeddings"}]


def parsed(spec):
    """ "usl:neighbors=20,weight=1" as the name and its knobs, their values as in TOML."""
    name, _, settings = spec.partition(":")
    knobs = {}
    for setting in filter(None, settings.split(",")):
        key, _, value = setting.partition("=")
        try:
            knobs[key] = tomli.loads(f"value = {value}")["value"]
        except tomli.TOMLDecodeError:
            knobs[key] = value
    return name, knobs


def label(strategy, knobs):
    """What `parsed` reads."""
    return ":".join([strategy, *filter(None, [",".join(f"{key}={value}" for key, value in knobs.items())])])


def comparisons(specs, n, budget):
    """The comparisons of the named strategies, or of all; at that size, or at each one's own."""
    selection = []
    for name, knobs in map(parsed, specs or from_embeddings_alone()):
        if knobs:
            itself = Peer("its defaults", "initpools", partial(implementations.ours, strategy=name, knobs={}))
            selection.append(Comparison(name, *LARGE, (itself,), knobs))
            continue
        own = [comparison for comparison in COMPARISONS if comparison.strategy == name]
        alone = Comparison(name, *LARGE)
        selection += own if any((one.n, one.budget) == LARGE for one in own) else [*own, alone]
    with_sizes = [
        replace(one, n=n or one.n, budget=(n or one.n) if one.budget == one.n else budget or one.budget)
        for one in selection
    ]
    # A strategy that is compared with a peer at that size is not timed alone.
    against_peers = {(one.strategy, one.n, one.budget) for one in with_sizes if one.peers}
    return [
        one for one in with_sizes if one.peers or one.classes or (one.strategy, one.n, one.budget) not in against_peers
    ]


def ball_radius(points, budget):
    """Within which an image has about n / budget others; from 1,000 images."""
    sample = np.array(points[:: max(1, len(points) // 1000)])
    between = np.concatenate(list(quality.distances(sample, np.arange(len(sample)))))
    return float(np.quantile(between[np.triu_indices(len(sample), 1)], 1 / budget))


def build_run(comparison, side, points, budget, radius):
    """The function that is timed: ours, or the one of that peer."""
    if side == OURS:
        knobs = {**comparison.knobs, **comparison.agree(radius)}
        return implementations.ours(points, budget, comparison.strategy, knobs)
    peer = comparison.peers[side]
    return peer.build(points, budget, **peer.agree(radius))


def warmed_up(comparison, side, points, radius):
    """As `build_run`, after a run on a few points, which imports whatever is imported late."""
    few = np.array(points[:WARM_UP])
    build_run(comparison, side, few, min(comparison.budget, len(few) // 16), radius)()
    return build_run(comparison, side, points, comparison.budget, radius)


def work():
    """The worker: the memory of one implementation, or the times of all, by turns, and the value of their picks."""
    job = task()
    comparison = comparisons(job["names"], job["n"], job["budget"])[job["number"]]
    points, radius = np.load(job["file"]), job["radius"]
    if job["side"] is not None:
        answer(bytes=measured(warmed_up(comparison, job["side"], points, radius))[2])
        return
    runs, failures = {OURS: warmed_up(comparison, OURS, points, radius)}, {}
    for side in range(len(comparison.peers)):
        try:
            runs[side] = warmed_up(comparison, side, points, radius)
        except ImportError as error:
            failures[side] = str(error)
    seconds, picks = by_turns(runs, 1 if job["once"] else ROUNDS)
    objective = quality.OBJECTIVES.get(comparison.strategy, quality.OTHERS)[1]
    results = {
        side: {
            "seconds": min(times),
            "value": None if comparison.classes else objective(points, picks[side], radius),
            "picks": quality.agreement(comparison.strategy, points, picks[OURS], picks[side]),
        }
        for side, times in seconds.items()
    }
    answer(results=results, failures=failures)


def by_turns(runs, rounds):
    """The times and the last picks of each."""
    seconds, picks = {side: [] for side in runs}, {}
    for _ in range(rounds):
        for side, run in runs.items():
            if not seconds[side] or min(seconds[side]) <= SLOW:
                start = time.perf_counter()
                picks[side] = run()
                seconds[side].append(time.perf_counter() - start)
    return seconds, picks


def lines(comparison, work, data):
    """A line for each peer, or one of ours alone; `work` is the workers' task."""
    points = np.load(work["file"], mmap_mode="r")
    if comparison.strategy == "probcover":
        work = {**work, "radius": ball_radius(points, comparison.budget)}
    timing = in_process(__file__, {**work, "side": None}, work["threads"])
    if timing["status"] != "done":
        print(
            f"{label(comparison.strategy, comparison.knobs)}: the timing {timing['status']}: no line recorded.",
            flush=True,
        )
        return
    memory = {
        int(side): in_process(__file__, {**work, "side": int(side)}, work["threads"]).get("bytes")
        for side in timing["results"]
        if not work["once"]
    }
    ours = timing["results"][str(OURS)]
    for side, peer in enumerate(comparison.peers or [NO_PEER]):
        theirs = timing["results"].get(str(side), {})
        times = theirs["seconds"] / ours["seconds"] if theirs else None
        if side in map(int, timing["failures"]):
            print(f"{peer.name} does not run here: {timing['failures'][str(side)]}")
        yield {
            **machine(),
            **{name.replace("-", "_"): implementations.release(name) for name in ("numpy", "torch", "scikit-learn")},
            "strategy": label(comparison.strategy, comparison.knobs),
            "peer": peer.name,
            "peer_version": implementations.release(peer.package),
            "data": data if not comparison.classes else "generated logits",
            "n": points.shape[0],
            "d": points.shape[1],
            "budget": comparison.budget,
            "threads": work["threads"],
            "seconds": "" if work["once"] else f"{ours['seconds']:.3f}",
            "peer_seconds": f"{theirs['seconds']:.3f}" if theirs and not work["once"] else "",
            "times": f"{times:.2f}" if theirs and not work["once"] else "",
            "goal": f"{peer.goal:g} times" if peer.goal else f"{comparison.seconds:g} s" if comparison.seconds else "",
            "met": "" if work["once"] else met(peer, comparison, times, ours["seconds"]),
            "picks": theirs.get("picks", ""),
            "objective": "" if comparison.classes else quality.OBJECTIVES.get(comparison.strategy, quality.OTHERS)[0],
            "value": format_value(ours["value"]),
            "peer_value": format_value(theirs.get("value")),
            "memory": in_embeddings(memory.get(OURS), points),
            "peer_memory": in_embeddings(memory.get(side), points),
            "memory_goal": f"{MEMORY:g}" if memory else "",
            "memory_met": yes((memory[OURS] or np.inf) <= MEMORY * points.nbytes) if memory else "",
        }


def met(peer, comparison, times, seconds):
    """Whether the claim on speed holds; "" if there is none, or no peer to compare with."""
    if comparison.seconds:
        return yes(seconds <= comparison.seconds)
    return yes(times >= peer.goal) if peer.goal and times else ""


def yes(holds):
    return "yes" if holds else "no"


def format_value(value):
    return "" if value is None else f"{value:.5g}"


def in_embeddings(peak, points):
    """Bytes as a multiple of those of the embeddings."""
    return "" if peak is None else f"{peak / points.nbytes:.3f}"


def arguments():
    parser = argparse.ArgumentParser(description="Time the strategies against their peers.")
    parser.add_argument("names", nargs="*", metavar="NAME[:knob=value,...]", help="default: all")
    parser.add_argument("--n", type=int, help="images (default: as the claims have it)")
    parser.add_argument("--d", type=int, default=512, help="dimensions of generated embeddings")
    parser.add_argument("--budget", type=int, help="default: as the claims have it")
    parser.add_argument("--data", type=Path, metavar="FILE.npy", help="real embeddings in place of generated ones")
    parser.add_argument(
        "--once", action="store_true", help="one run each, no times and no memory: for what picks are worth"
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    return parser.parse_args()


def main():
    if task():
        work()
        return
    args = arguments()
    with tempfile.TemporaryDirectory() as folder:
        for number, comparison in enumerate(comparisons(args.names, args.n, args.budget)):
            file = Path(folder) / f"{comparison.n}-{comparison.classes}.npy"
            if not file.exists():
                if comparison.classes:
                    write_logits(file, comparison.n, comparison.classes)
                elif args.data:
                    write_sample(file, args.data, comparison.n)
                else:
                    write_clustered(file, comparison.n, args.d)
            job = {
                "names": args.names,
                "n": args.n,
                "budget": args.budget,
                "number": number,
                "radius": 0.0,
                "once": args.once,
            }
            data = args.data.name if args.data else "generated"
            for row in lines(comparison, {**job, "file": str(file), "threads": args.threads}, data):
                record("select", row)
                show(row)
                print(flush=True)


if __name__ == "__main__":
    main()
