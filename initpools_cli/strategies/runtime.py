"""How long a strategy will take, told before it begins, and how many images it could choose among in a minute."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from initpools_cli.core.registry import Method
from initpools_cli.geometry.chunked import available_threads, map_blocks

# Seconds from which it is worth saying.
LONG = 60.0
# Fewer multiplications than this take no such time anywhere.
SHORT = 1e12
SIDE = 1024
# Lists for who looks for near images in few of them: where embeddings lie in clusters, most neighbors are there.
PROBES, NEIGHBORS = 16, 50
SAMPLES = (200_000, 100_000, 50_000, 20_000, 10_000)


def operations(method: Method, n: int, d: int, budget: int, knobs: Mapping[str, Any]) -> float:
    """The multiply-adds of a matrix product that take as long as the strategy.

    Parameters
    ----------
    method : Method
        Its ``cost`` in n, d, b, k and t, times its ``factor``, which was measured; 0 without one.
    n, d, budget : int
    knobs : mapping
        With all values: clusters and iterations are among them.
    """
    clusters = knobs.get("n_clusters") or min(knobs.get("max_clusters") or budget, budget)
    sizes = {
        "n": n,
        "n²": n * min(n, _probed(n, knobs["probes"]) if knobs.get("probes") and knobs.get("neighbors", 1) else n),
        "d": d,
        "b": budget,
        "k": clusters,
        "t": knobs.get("iterations") or knobs.get("n_samples", 1),
    }
    terms = [
        np.prod([float(sizes.get(symbol, 1)) for symbol in term.split()]) for term in method.traits.cost.split(" + ")
    ]
    return float(method.traits.factor * sum(terms))


def _probed(n: int, probes: int) -> float:
    """With how many rows each one is multiplied where near ones are sought in lists, gathering them included."""
    return float((probes + 4) * n**0.5)


def speed() -> float:
    """The multiply-adds in a second that matrix products reach here, on all threads."""
    threads = available_threads()
    left, right = np.ones((SIDE, SIDE), np.float32), np.ones((SIDE, SIDE), np.float32)
    map_blocks(lambda span: left @ right, threads, 1, threads)
    started = time.perf_counter()
    map_blocks(lambda span: left @ right, threads, 1, threads)
    return float(threads * SIDE**3 / (time.perf_counter() - started))


def expectation(
    name: str,
    method: Method,
    n: int,
    d: int,
    budget: int,
    knobs: Mapping[str, Any],
    sample: int,
    samples: Sequence[int] = SAMPLES,
) -> str | None:
    """What to tell before a strategy, or a score of embeddings, begins; None where it takes less than a minute.

    Parameters
    ----------
    name : str
        The strategy's.
    n, d, budget : int
        Images, dimensions of the embeddings, images to choose.
    sample : int
        ``select.sample``; 0: all images.
    samples : sequence of int
        How many images may be proposed to choose among, instead.
    """
    there = min(sample or n, n)
    work = operations(method, there, d, budget, knobs)
    if work < SHORT:
        return None
    rate = speed()
    if work / rate < LONG:
        return None
    said = f"{name} will take about {span(work / rate)} for {there:,} images of {d} dimensions."
    if knobs.get("probes") == 0:
        instead = {"probes": PROBES} | ({} if knobs.get("neighbors", 1) else {"neighbors": NEIGHBORS})
        seconds = operations(method, there, d, budget, {**knobs, **instead}) / rate
        words = " ".join(f"--set {key}={value}" for key, value in instead.items())
        said += f" With {words} it goes by near images, misses some, and takes about {span(max(1.0, seconds))}."
    fits = [m for m in samples if 2 * budget <= m < there and operations(method, m, d, budget, knobs) <= LONG * rate]
    if fits:
        seconds = operations(method, fits[0], d, budget, knobs) / rate
        said += (
            f" Among a random {fits[0]:,} of them it chooses in about {span(max(1.0, seconds))}: "
            f"--set select.sample={fits[0]}."
        )
    return said


def span(seconds: float) -> str:
    """Seconds as somebody would say them."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"
