"""Generated embeddings and logits for benchmarks."""

from __future__ import annotations

import numpy as np

from initpools_cli.geometry.knn import knn

CLUSTERS = 50
BLOCK = 2**14


def clustered(folder, n, d, dtype=np.float32):
    """The file of at least n embeddings in the folder; written if there is none."""
    kind = np.dtype(dtype).name
    for file in sorted(folder.glob(f"clustered-*x{d}-{kind}.npy")):
        if len(np.load(file, mmap_mode="r")) >= n:
            return file
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"clustered-{n}x{d}-{kind}.npy"
    print(f"Writing {file} ({n * d * np.dtype(dtype).itemsize / 1e9:.1f} GB).", flush=True)
    write_clustered(file, n, d, dtype)
    return file


def write_clustered(file, n, d, dtype=np.float32):
    """Write unit vectors (n, d) of a mixture of 50 Gaussians, block by block.

    Variances fall as 1 / dimension, as those of trained features do: the effective rank at 512 dimensions is about 120,
    where equal ones would make all neighbors of an image equally far. The rows of fewer images are the first of more.
    """
    deviations = np.arange(1, d + 1, dtype=np.float32) ** -0.5
    centers = np.random.default_rng([0, 0]).standard_normal((CLUSTERS, d), dtype=np.float32)
    partial = file.with_name(file.name + ".partial")
    rows = np.lib.format.open_memmap(partial, "w+", dtype, (n, d))
    for number, start in enumerate(range(0, n, BLOCK)):
        rng = np.random.default_rng([1, number])
        block = centers[rng.integers(0, CLUSTERS, BLOCK)] + rng.standard_normal((BLOCK, d), dtype=np.float32)
        block *= deviations
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
    order = np.sort(np.random.default_rng([3, 0]).permutation(len(rows))[:n])
    points = np.asarray(rows[order], np.float32)
    np.save(file, points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), np.float32(1e-30)))


def write_jittered(file, source, n, d):
    """Write n unit vectors (n, d): the d first principal components of the rows in `source`, repeated with jitter.

    Each copy is moved half as far as the nearest other row, in a random direction. The rows are in random order.
    """
    rows = np.asarray(np.load(source, mmap_mode="r"), np.float32)
    rows = rows - rows.mean(axis=0)
    rows = rows @ np.linalg.eigh(rows.T @ rows)[1][:, ::-1][:, :d]
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.float32(1e-30))
    gaps = knn(rows, 1)[1][:, 0].astype(np.float32)
    order = np.random.default_rng([4, 0]).permutation(n) % len(rows)
    output = np.lib.format.open_memmap(file.with_name(file.name + ".partial"), "w+", np.float16, (n, rows.shape[1]))
    for number, start in enumerate(range(0, n, BLOCK)):
        own = order[start : start + BLOCK]
        jitter = np.random.default_rng([5, number]).standard_normal((len(own), rows.shape[1]), dtype=np.float32)
        jitter *= gaps[own, None] / 2 / np.linalg.norm(jitter, axis=1, keepdims=True)
        block = rows[own] + jitter
        output[start : start + BLOCK] = block / np.linalg.norm(block, axis=1, keepdims=True)
    output.flush()
    file.with_name(file.name + ".partial").rename(file)
