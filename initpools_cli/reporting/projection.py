"""Embeddings on a plane, for figures: which images are placed, and how long that takes."""

from __future__ import annotations

import numpy as np

from initpools_cli.core.reporter import Reporter
from initpools_cli.core.seeds import generator

#: Projections whose time makes a sample worthwhile.
SLOW = ("tsne", "umap")
#: Seconds from which it is said how long one takes.
LONG = 20.0


def sampled(n: int, projection: str, sample: int, always: np.ndarray, seed: int) -> np.ndarray:
    """Which of n rows are placed: all, or `always` and a seeded sample of the others; ascending int64.

    Parameters
    ----------
    sample : int
        At most so many where the projection is slow; 0: all.
    always : ndarray of int
        Rows that are placed in any case.
    """
    if projection not in SLOW or not sample or n <= sample:
        return np.arange(n)
    kept = np.unique(always)
    others = np.setdiff1d(np.arange(n), kept)
    more = generator(seed, "plot", "sample").permutation(others)[: max(0, sample - len(kept))]
    return np.sort(np.concatenate([kept, more]))


def projected(embeddings: np.ndarray, projection: str, seed: int, report: Reporter | None = None) -> np.ndarray:
    """The embeddings (n, d) on a plane (n, 2); what takes long is announced."""
    from initpools_cli.stats.projection import estimate_seconds, pca_2d, tsne_2d, umap_2d
    from initpools_cli.strategies.runtime import span

    seconds = estimate_seconds(projection, len(embeddings))
    if report is not None and seconds >= LONG:
        report.say(
            f"{projection} of {len(embeddings):,} images takes about {span(seconds)} (fewer with --set sample=N)"
        )
    return {"pca": pca_2d, "tsne": tsne_2d, "umap": umap_2d}[projection](embeddings, seed)
