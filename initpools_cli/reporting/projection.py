"""2-D projection of embeddings for figures."""

from __future__ import annotations

import numpy as np

from initpools_cli.core.durations import duration
from initpools_cli.core.reporter import Reporter
from initpools_cli.core.seeds import generator

#: Projections slow enough to need a sample.
SLOW = ("tsne", "umap")
#: The estimated time is printed from this many seconds on.
LONG = 20.0


def sampled(n: int, projection: str, sample: int, always: np.ndarray, seed: int) -> np.ndarray:
    """Choose the rows to project: all n, or `always` and a seeded sample of the others; ascending int64.

    Parameters
    ----------
    sample : int
        Maximum number of rows for a slow projection; 0: all.
    always : ndarray of int
        Rows that are always included.
    """
    if projection not in SLOW or not sample or n <= sample:
        return np.arange(n)
    rows = np.unique(always)
    others = np.setdiff1d(np.arange(n), rows)
    more = generator(seed, "plot", "sample").permutation(others)[: max(0, sample - len(rows))]
    return np.sort(np.concatenate([rows, more]))


def projected(embeddings: np.ndarray, projection: str, seed: int, report: Reporter | None = None) -> np.ndarray:
    """Project embeddings (n, d) to (n, 2); prints the estimated time of a slow projection."""
    from initpools_cli.stats.projection import estimate_seconds, pca_2d, tsne_2d, umap_2d

    seconds = estimate_seconds(projection, len(embeddings))
    if report is not None and seconds >= LONG:
        report.say(
            f"{projection} of {len(embeddings):,} images takes about {duration(seconds)}; "
            "--set sample=N projects fewer."
        )
    return {"pca": pca_2d, "tsne": tsne_2d, "umap": umap_2d}[projection](embeddings, seed)
