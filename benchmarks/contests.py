"""Who runs against whom in `select.py`, and the lines that come of it."""

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

import contestants
import numpy as np
import quality
import tomli
from points import write_clustered, write_logits, write_sample
from process import answer, in_process, measured, task
from record import record, show

from initpools_cli.core.cpu import machine

ROUNDS = 3
# Seconds; who takes longer runs once.
PATIENCE = 60
LARGE, SMALL = (50_000, 1_000), (20_000, 100)
MEMORY = 2.0
WARM_UP = 256
OURS = -1


@dataclass(frozen=True)
class Peer:
    """Whom ours runs against.

    `build` takes points and budget, and what `agree` makes of the ball radius; ours is to be `goal` times as fast.
    """

    name: str
    package: str
    build: Callable[..., Callable[[], np.ndarray]]
    goal: float = 0.0
    agree: Callable[[float], dict[str, Any]] = lambda radius: {}


@dataclass(frozen=True)
class Contest:
    """One strategy at one size; `seconds` is what it is to stay below, where that is claimed."""

    strategy: str
    n: int
    budget: int
    peers: tuple[Peer, ...] = ()
    knobs: dict[str, Any] = field(default_factory=dict)
    # What is set from the ball radius, which both sides are given.
    agree: Callable[[float], dict[str, Any]] = lambda radius: {}
    classes: int = 0
    seconds: float = 0.0


#: Where ours runs alone.
NOBODY = Peer("", "", contestants.ours)


def activeml(name, goal, agree=lambda radius: {}, **options):
    return Peer("scikit-activeml", "scikit-activeml", partial(contestants.activeml, name=name, **options), goal, agree)


#: With peers, and the full ranking by logits.
CONTESTS = (
    Contest(
        "kcenter",
        *LARGE,
        (
            Peer("NumPy loop", "numpy", contestants.numpy_kcenter, 4),
            Peer("torch loop", "torch", contestants.torch_kcenter, 4),
            Peer("lightly-mundig", "lightly-mundig", contestants.mundig_kcenter, 3),
        ),
    ),
    Contest("kcenter", 90_000, 90_000, classes=9, knobs={"normalize": False}, seconds=60),
    Contest("typicality", *SMALL, (Peer("lightly-mundig", "lightly-mundig", contestants.mundig_typicality, 10),)),
    # Its k is 5 where the paper's and ours is 20.
    Contest("typiclust", *SMALL, (activeml("TypiClust", 5, k=20),)),
    # The same delta to both: a single one spares the peer its clustering and its search.
    Contest(
        "probcover",
        *SMALL,
        (activeml("ProbCover", 8, agree=lambda radius: {"deltas": [radius]}),),
        agree=lambda radius: {"delta": radius},
    ),
    # Each chooses its delta: ours is the largest pure one, the peer's the largest pure one of ten.
    Contest("probcover", *SMALL, (activeml("ProbCover", 8, n_classes=20),), knobs={"n_clusters": 20}),
    # gamma = 1 / bandwidth².
    Contest("maxherding", *SMALL, (activeml("MaxHerding", 20, metric_dict={"gamma": 1.0}),)),
    Contest(
        "facility-location", *SMALL, (Peer("apricot", "apricot-select", contestants.apricot_facility_location, 4),)
    ),
    Contest("graph-cut", *SMALL, (Peer("apricot", "apricot-select", contestants.apricot_graph_cut),)),
    Contest("kmeans", *SMALL, (Peer("scikit-learn", "scikit-learn", contestants.sklearn_kmeans),)),
    Contest("kmeans++", *SMALL, (Peer("scikit-learn", "scikit-learn", contestants.sklearn_kmeanspp),)),
    Contest("activeft", *SMALL, (Peer("torch loop", "torch", contestants.torch_activeft),)),
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


def contests(specs, n, budget):
    """What is to run: of the names given, or all; at the size given, or at each one's own."""
    selection = []
    for name, knobs in map(parsed, specs or from_embeddings_alone()):
        if knobs:
            itself = Peer("its defaults", "initpools", partial(contestants.ours, strategy=name, knobs={}))
            selection.append(Contest(name, *LARGE, (itself,), knobs))
            continue
        own = [contest for contest in CONTESTS if contest.strategy == name]
        alone = Contest(name, *LARGE)
        selection += own if any((one.n, one.budget) == LARGE for one in own) else [*own, alone]
    with_sizes = [
        replace(one, n=n or one.n, budget=(n or one.n) if one.budget == one.n else budget or one.budget)
        for one in selection
    ]
    # At a given size nobody runs by itself who runs against a peer.
    against_peers = {(one.strategy, one.n, one.budget) for one in with_sizes if one.peers}
    return [
        one for one in with_sizes if one.peers or one.classes or (one.strategy, one.n, one.budget) not in against_peers
    ]


def ball_radius(points, budget):
    """Within which an image has about n / budget others; from 1,000 images."""
    sample = np.array(points[:: max(1, len(points) // 1000)])
    between = np.concatenate(list(quality.distances(sample, np.arange(len(sample)))))
    return float(np.quantile(between[np.triu_indices(len(sample), 1)], 1 / budget))


def build_run(contest, who, points, budget, radius):
    """The function that is timed: of ours, or of the peer of that place."""
    if who == OURS:
        knobs = {**contest.knobs, **contest.agree(radius)}
        return contestants.ours(points, budget, contest.strategy, knobs)
    peer = contest.peers[who]
    return peer.build(points, budget, **peer.agree(radius))


def warmed_up(contest, who, points, radius):
    """As `build_run`, after a run on a few points, which imports whatever is imported late."""
    few = np.array(points[:WARM_UP])
    build_run(contest, who, few, min(contest.budget, len(few) // 16), radius)()
    return build_run(contest, who, points, contest.budget, radius)


def work():
    """The worker: the memory of one contestant, or the times of all, by turns, and what their picks are worth."""
    job = task()
    contest = contests(job["names"], job["n"], job["budget"])[job["number"]]
    points, radius = np.load(job["file"]), job["radius"]
    if job["who"] is not None:
        answer(bytes=measured(warmed_up(contest, job["who"], points, radius))[2])
        return
    runs, failures = {OURS: warmed_up(contest, OURS, points, radius)}, {}
    for who in range(len(contest.peers)):
        try:
            runs[who] = warmed_up(contest, who, points, radius)
        except ImportError as error:
            failures[who] = str(error)
    seconds, picks = by_turns(runs, 1 if job["once"] else ROUNDS)
    objective = quality.OBJECTIVES.get(contest.strategy, quality.OTHERS)[1]
    results = {
        who: {
            "seconds": min(times),
            "value": None if contest.classes else objective(points, picks[who], radius),
            "picks": quality.agreement(contest.strategy, points, picks[OURS], picks[who]),
        }
        for who, times in seconds.items()
    }
    answer(found=results, failures=failures)


def by_turns(runs, rounds):
    """The times and the last picks of each."""
    seconds, picks = {who: [] for who in runs}, {}
    for _ in range(rounds):
        for who, run in runs.items():
            if not seconds[who] or min(seconds[who]) <= PATIENCE:
                start = time.perf_counter()
                picks[who] = run()
                seconds[who].append(time.perf_counter() - start)
    return seconds, picks


def lines(contest, work, data):
    """A line for each peer, or one of ours alone; `work` is what the workers are told."""
    points = np.load(work["file"], mmap_mode="r")
    if contest.strategy == "probcover":
        work = {**work, "radius": ball_radius(points, contest.budget)}
    timing = in_process(__file__, {**work, "who": None}, work["threads"])
    if timing["status"] != "done":
        print(
            f"{label(contest.strategy, contest.knobs)}: the timing {timing['status']}, so there is no line of it.",
            flush=True,
        )
        return
    memory = {
        int(who): in_process(__file__, {**work, "who": int(who)}, work["threads"]).get("bytes")
        for who in timing["found"]
        if not work["once"]
    }
    ours = timing["found"][str(OURS)]
    for who, peer in enumerate(contest.peers or [NOBODY]):
        theirs = timing["found"].get(str(who), {})
        times = theirs["seconds"] / ours["seconds"] if theirs else None
        if who in map(int, timing["failures"]):
            print(f"{peer.name} does not run here: {timing['failures'][str(who)]}")
        yield {
            **machine(),
            **{name.replace("-", "_"): contestants.release(name) for name in ("numpy", "torch", "scikit-learn")},
            "strategy": label(contest.strategy, contest.knobs),
            "peer": peer.name,
            "peer_version": contestants.release(peer.package),
            "data": data if not contest.classes else "generated logits",
            "n": points.shape[0],
            "d": points.shape[1],
            "budget": contest.budget,
            "threads": work["threads"],
            "seconds": "" if work["once"] else f"{ours['seconds']:.3f}",
            "peer_seconds": f"{theirs['seconds']:.3f}" if theirs and not work["once"] else "",
            "times": f"{times:.2f}" if theirs and not work["once"] else "",
            "goal": f"{peer.goal:g} times" if peer.goal else f"{contest.seconds:g} s" if contest.seconds else "",
            "met": "" if work["once"] else met(peer, contest, times, ours["seconds"]),
            "picks": theirs.get("picks", ""),
            "objective": "" if contest.classes else quality.OBJECTIVES.get(contest.strategy, quality.OTHERS)[0],
            "value": format_value(ours["value"]),
            "peer_value": format_value(theirs.get("value")),
            "memory": in_embeddings(memory.get(OURS), points),
            "peer_memory": in_embeddings(memory.get(who), points),
            "memory_goal": f"{MEMORY:g}" if memory else "",
            "memory_met": yes((memory[OURS] or np.inf) <= MEMORY * points.nbytes) if memory else "",
        }


def met(peer, contest, times, seconds):
    """Whether the claim on speed holds; "" where there is none, or nobody to hold it against."""
    if contest.seconds:
        return yes(seconds <= contest.seconds)
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
        for number, contest in enumerate(contests(args.names, args.n, args.budget)):
            file = Path(folder) / f"{contest.n}-{contest.classes}.npy"
            if not file.exists():
                if contest.classes:
                    write_logits(file, contest.n, contest.classes)
                elif args.data:
                    write_sample(file, args.data, contest.n)
                else:
                    write_clustered(file, contest.n, args.d)
            job = {
                "names": args.names,
                "n": args.n,
                "budget": args.budget,
                "number": number,
                "radius": 0.0,
                "once": args.once,
            }
            data = args.data.name if args.data else "generated"
            for row in lines(contest, {**job, "file": str(file), "threads": args.threads}, data):
                record("select", row)
                show(row)
                print(flush=True)


if __name__ == "__main__":
    main()
