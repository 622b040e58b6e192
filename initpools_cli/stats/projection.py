"""Deterministic projections of embeddings to two dimensions: PCA, t-SNE and UMAP."""

from __future__ import annotations

import warnings
from importlib import import_module

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.errors import UserError
from initpools_cli.core.seeds import derive

# t-SNE and UMAP run on this many principal components (van der Maaten 2008, sec. 4).
TSNE_DIMENSIONS = 50
# Fewer points than this are projected by PCA.
FEWEST = 8
# Seconds on one laptop core, fitted to runs with 1,000 to 20,000 points.
TSNE_SECONDS, UMAP_SECONDS, UMAP_START = 3.5e-4, 4e-4, 15.0


def pca_2d(embeddings: NDArray[np.floating], seed: int = 0) -> NDArray[np.float64]:
    """Project embeddings on their first two principal components.

    The sign of each axis makes its largest loading positive.

    Parameters
    ----------
    embeddings : ndarray, shape (n, d)
    seed : int
        For the randomized solver, used for large inputs.

    Returns
    -------
    ndarray of float64, shape (n, 2)
        Centered; a missing axis (d = 1 or n = 1) is 0.
    """
    return _pca(embeddings, 2, seed)


def tsne_2d(embeddings: NDArray[np.floating], seed: int = 0) -> NDArray[np.float64]:
    """Project embeddings by t-SNE initialized with PCA (van der Maaten & Hinton 2008).

    Barnes-Hut, perplexity 30 or a third of the points. Distances between clusters are not meaningful. Fewer than eight
    points are projected by PCA.

    Parameters
    ----------
    embeddings : ndarray, shape (n, d)
    seed : int

    Returns
    -------
    ndarray of float64, shape (n, 2)
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    n, d = embeddings.shape
    if n < FEWEST:
        return pca_2d(embeddings, seed)
    components = _pca(embeddings, min(d, TSNE_DIMENSIONS), seed)
    start = components[:, :2] if d > 1 else _pca(embeddings, 2, seed)
    scale = start[:, 0].std()
    start = start / scale * 1e-4 if scale > 0 else start
    # One thread, because the rounding of the gradient depends on the number of threads.
    with threadpool_limits(1):
        plane = TSNE(
            perplexity=min(30.0, (n - 1) / 3), init=start, learning_rate="auto", random_state=_seed32(seed, "tsne")
        ).fit_transform(components)
    return np.asarray(plane, dtype=np.float64)


def umap_2d(embeddings: NDArray[np.floating], seed: int = 0) -> NDArray[np.float64]:
    """Project embeddings by UMAP with 15 neighbors (McInnes et al. 2018, arXiv:1802.03426).

    Distances between clusters are not meaningful. Fewer than eight points are projected by PCA.

    Parameters
    ----------
    embeddings : ndarray, shape (n, d)
    seed : int

    Returns
    -------
    ndarray of float64, shape (n, 2)

    Raises
    ------
    UserError
        If umap-learn is not installed.
    """
    n, d = embeddings.shape
    with warnings.catch_warnings():
        # Warnings of numba and about disconnected clusters do not help the user.
        warnings.simplefilter("ignore")
        try:
            umap = import_module("umap")
        except ModuleNotFoundError:
            raise UserError(
                "projection 'umap' needs umap-learn, which is not installed.",
                'Run `pip install "initpools[umap]"`, or set projection=tsne.',
                "umap",
            ) from None
        if n < FEWEST:
            return pca_2d(embeddings, seed)
        components = _pca(embeddings, min(d, TSNE_DIMENSIONS), seed).astype(np.float32)
        plane = umap.UMAP(
            n_neighbors=min(15, n - 1), init="pca", random_state=_seed32(seed, "umap"), n_jobs=1
        ).fit_transform(components)
    return np.asarray(plane, dtype=np.float64)


def estimate_seconds(projection: str, n: int) -> float:
    """Estimate the seconds that a projection of n points takes; 0 for PCA."""
    if projection == "tsne":
        return float(TSNE_SECONDS * n * np.log2(max(n, 2)))
    return UMAP_START + UMAP_SECONDS * n if projection == "umap" else 0.0


def _pca(embeddings: NDArray[np.floating], dimensions: int, seed: int) -> NDArray[np.float64]:
    from sklearn.decomposition import PCA
    from threadpoolctl import threadpool_limits

    values = np.asarray(embeddings, dtype=np.float64)
    n, d = values.shape
    plane = np.zeros((n, dimensions))
    n_components = min(dimensions, d, n)
    if n < 2 or not n_components:
        return plane
    with threadpool_limits(1), np.errstate(invalid="ignore", divide="ignore"):
        pca = PCA(n_components=n_components, random_state=_seed32(seed, "pca")).fit(values)
        axes = pca.components_
        largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)
        plane[:, :n_components] = (values - pca.mean_) @ (axes * np.where(largest < 0, -1.0, 1.0)).T
    return plane


def _seed32(seed: int, label: str) -> int:
    """Derive a seed of 32 bits, the most that scikit-learn accepts."""
    return derive(seed, label) % 2**32
