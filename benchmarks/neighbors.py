"""Claim: exact k-NN (float64 distances, ties to the lower index) costs less than 1.5 times faiss's own float32 search.

Both run on the same array in the same process with the same number of threads, by turns, and the best of three counts.
The array is a mixture of 50 Gaussians on the unit sphere, the shape of normalized embeddings. faiss orders by float32
distances and lets ties fall as they come; `differing_rows` is the share of rows whose set of neighbors is not the
exact one for that.

    python benchmarks/neighbors.py [n d k threads]         (defaults: 20000 512 20 1; half a minute)

Adds a line to benchmarks/results/neighbors.csv.
"""

from __future__ import annotations

import sys
import time
from importlib.metadata import version

import faiss
import numpy as np
from record import record, show

from initpools_cli.core.cpu import machine
from initpools_cli.geometry.knn import knn

CLAIM = 1.5


def embeddings(n, d):
    rng = np.random.default_rng(0)
    points = (rng.normal(size=(50, d))[rng.integers(0, 50, n)] + rng.normal(size=(n, d))).astype(np.float32)
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def faiss_search(points, k):
    index = faiss.IndexFlatL2(points.shape[1])
    index.add(points)
    return index.search(points, k + 1)[1]


def without_itself(indices):
    """Drop the row itself, or the last one found where enough duplicates hide it."""
    at = np.arange(len(indices))
    own = indices == at[:, None]
    drop = np.where(own.any(axis=1), own.argmax(axis=1), indices.shape[1] - 1)
    mask = np.ones(indices.shape, bool)
    mask[at, drop] = False
    return indices[mask].reshape(len(indices), -1)


def timed(function):
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def main():
    n, d, k, threads = (int(a) for a in sys.argv[1:]) if len(sys.argv) > 1 else (20000, 512, 20, 1)
    points = embeddings(n, d)
    faiss.omp_set_num_threads(threads)
    exact, theirs = [], []
    for _ in range(3):
        seconds, (ours, _) = timed(lambda: knn(points, k, threads))
        exact.append(seconds)
        seconds, indices = timed(lambda: faiss_search(points, k))
        theirs.append(seconds)
    differing = (np.sort(ours, axis=1) != np.sort(without_itself(indices), axis=1)).any(axis=1).mean()
    ratio = min(exact) / min(theirs)
    row = {
        **machine(),
        "numpy": version("numpy"),
        "faiss": faiss.__version__,
        "n": n,
        "d": d,
        "k": k,
        "threads": threads,
        "exact_seconds": f"{min(exact):.2f}",
        "faiss_seconds": f"{min(theirs):.2f}",
        "ratio": f"{ratio:.2f}",
        "differing_rows": f"{differing:.4f}",
    }
    record("neighbors", row)
    show(row)
    print(f"The claim (ratio below {CLAIM}) {'holds' if ratio < CLAIM else 'does not hold'}.")


if __name__ == "__main__":
    main()
