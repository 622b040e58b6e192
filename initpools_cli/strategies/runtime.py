"""Estimated runtime of strategies and scores, reported before they start."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from initpools_cli.core.config import PROBES
from initpools_cli.core.durations import duration
from initpools_cli.core.registry import Method
from initpools_cli.geometry.chunked import available_threads, map_blocks

# Shorter runtimes, in seconds, are not reported.
LONG = 60.0
# With fewer multiply-adds the runtime is shorter on any machine.
SHORT = 1e12
SIDE = 1024
# Images of a query set; with objective=fl1mi similarities between all images are computed.
QUERIES = 100
# Images of a subset, at most, of strategies that let others choose from subsets.
SUBSET = 5000
# Neighbors proposed with approximate neighbors.
NEIGHBORS = 50
# Images, at most, that the second round of a selection from partitions measures the objective on.
MEASURED = 20_000
# Numbers of partitions that may be proposed.
PARTITIONS = (4, 16, 64, 256, 1024)
SAMPLES = (200_000, 100_000, 50_000, 20_000, 10_000)


def operations(method: Method, n: int, d: int, budget: int, knobs: Mapping[str, Any]) -> float:
    """Estimate the cost of a strategy in multiply-adds of a matrix product.

    Parameters
    ----------
    method : Method
        With its ``cost`` in n, d, b, k, s and t, and its measured ``factor``; the result is 0 without one.
    n, d, budget : int
    knobs : mapping
        All knobs with their values.
    """
    clusters = knobs.get("n_clusters") or knobs.get("clusters") or min(knobs.get("max_clusters") or budget, budget)
    sizes = {
        "n": n,
        "n²": n
        * min(n, _rows_per_query(n, knobs["probes"]) if knobs.get("probes") and knobs.get("neighbors", 1) else n),
        "d": d,
        "s": min(n, SUBSET),
        "b": budget,
        "b²": budget**2,
        "k": clusters,
        "q": n if knobs.get("objective") == "fl1mi" else QUERIES,
        "t": knobs.get("iterations") or knobs.get("batches") or knobs.get("n_samples", 1),
    }
    terms = [
        np.prod([float(sizes.get(symbol, 1)) for symbol in term.split()]) for term in method.traits.cost.split(" + ")
    ]
    return float(method.traits.factor * sum(terms))


def in_partitions(method: Method, n: int, d: int, budget: int, knobs: Mapping[str, Any], partitions: int) -> float:
    """Estimate the cost of a selection in two rounds, from partitions and then from their picks, like `operations`."""
    if partitions == 1:
        return operations(method, n, d, budget, knobs)
    second = min(n, MEASURED + partitions * budget)
    each = operations(method, n // partitions, d, budget, knobs)
    # Similarities between the picks and the sample.
    side = int((second * min(n, MEASURED)) ** 0.5)
    return partitions * each + operations(method, side, d, budget, knobs)


def _rows_per_query(n: int, probes: int) -> float:
    """Estimate the rows that each row is compared with in a search by lists, each as costly as in an exact search."""
    return float((2.5 * probes + 4) * n**0.5)


def speed() -> float:
    """Measure the multiply-adds per second of matrix products on all threads."""
    threads = available_threads()
    left, right = np.ones((SIDE, SIDE), np.float32), np.ones((SIDE, SIDE), np.float32)
    map_blocks(lambda span: left @ right, threads, 1, threads)
    start = time.perf_counter()
    map_blocks(lambda span: left @ right, threads, 1, threads)
    return float(threads * SIDE**3 / (time.perf_counter() - start))


def expectation(
    name: str,
    method: Method,
    n: int,
    d: int,
    budget: int,
    knobs: Mapping[str, Any],
    sample: int,
    partitions: int | None = None,
    samples: Sequence[int] = SAMPLES,
) -> str | None:
    """Describe the expected runtime of a strategy or score, with faster alternatives; None below a minute.

    Parameters
    ----------
    name : str
        Name of the strategy or score.
    method : Method
    n, d, budget : int
        Number of images, of dimensions, and of images to select.
    knobs : mapping
    sample : int
        ``select.sample``; 0: all images.
    partitions : int
        ``select.partitions``; None if the command has none.
    samples : sequence of int
        Sample sizes that may be proposed.
    """
    images = min(sample or n, n)
    work = in_partitions(method, images, d, budget, knobs, partitions or 1)
    if work < SHORT:
        return None
    rate = speed()
    if work / rate < LONG:
        return None
    division = f" in {partitions} partitions" if (partitions or 1) > 1 else ""
    note = f"{name} will take about {duration(work / rate)} for {images:,} images of {d} dimensions{division}."
    if knobs.get("probes") == 0:
        faster = {"probes": PROBES} | ({} if knobs.get("neighbors", 1) else {"neighbors": NEIGHBORS})
        less = operations(method, images, d, budget, {**knobs, **faster})
        flags = " ".join(f"--set {key}={value}" for key, value in faster.items())
        if less < work:
            note += f" With {flags} it uses approximate neighbors and takes about {duration(max(1.0, less / rate))}."
    fits = [m for m in samples if 2 * budget <= m < images and operations(method, m, d, budget, knobs) <= LONG * rate]
    if fits:
        seconds = operations(method, fits[0], d, budget, knobs) / rate
        note += (
            f" With --set select.sample={fits[0]} it selects from {fits[0]:,} random images in about "
            f"{duration(max(1.0, seconds))}."
        )
    counts = [count for count in PARTITIONS if images // count >= budget]
    if partitions == 1 and method.traits.partitions and counts:
        works = [in_partitions(method, images, d, budget, knobs, count) for count in counts]
        # More partitions lose more of the objective.
        count, less = next((c, w) for c, w in zip(counts, works, strict=True) if w <= 2 * min(works))
        if less < work:
            note += (
                f" With --partitions {count} it selects from random partitions and then from their picks, in about "
                f"{duration(max(1.0, less / rate))}."
            )
    return note
