"""Generated embeddings and logits for benchmarks."""

from __future__ import annotations

import numpy as np

CLUSTERS = 50
BLOCK = 2**14


def write_clustered(file, n, d, dtype=np.float32):
    """Write unit vectors (n, d) of a mixture of 50 Gaussians, block by block.

    Variances fall as 1 / dimension, as those of trained features do: the effective rank at 512 dimensions is about 120,
    where equal ones would make all neighbors of an image equally far. The rows of fewer images are the first of more.
    """
    spread = np.arange(1, d + 1, dtype=np.float32) ** -0.5
    centers = np.random.default_rng([0, 0]).standard_normal((CLUSTERS, d), dtype=np.float32)
    partial = file.with_name(file.name + ".partial")
    rows = np.lib.format.open_memmap(partial, "w+", dtype, (n, d))
    for number, start in enumerate(range(0, n, BLOCK)):
        rng = np.random.default_rng([1, number])
        block = centers[rng.integers(0, CLUSTERS, BLOCK)] + rng.standard_normal((BLOCK, d), dtype=np.float32)
        block *= spread
        block /= np.linalg.norm(block, axis=1, keepdims=True)
        rows[start : start + BLOCK] = block[: n - start]
    rows.flush()
    partial.rename(file)


def write_logits(file, n, classes):
    """Write what a classifier that is mostly sure would say of n images, (n, classes) float32."""
    rng = np.random.default_rng([2, 0])
    sure = 6 * np.eye(classes, dtype=np.float32)[rng.integers(0, classes, n)]
    np.save(file, sure + 2 * rng.standard_normal((n, classes), dtype=np.float32))


def write_sample(file, source, n):
    """Write n rows of the array in `source` at length 1, drawn evenly and in their order; all where there are fewer."""
    rows = np.load(source, mmap_mode="r")
    drawn = np.sort(np.random.default_rng([3, 0]).permutation(len(rows))[:n])
    points = np.asarray(rows[drawn], np.float32)
    np.save(file, points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), np.float32(1e-30)))
