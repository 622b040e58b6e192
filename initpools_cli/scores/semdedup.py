"""Score `semdedup`: similarity to an earlier image of the same cluster."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.bounds import Count
from initpools_cli.geometry.near_copies import Keep, similarity_to_earlier
from initpools_cli.scores.registry import scores


@scores.register(
    paper="Abbas et al. 2023, arXiv:2303.09540",
    high="nearly the same as an image before it in its cluster",
    cost="n s d",
    by_rows=True,
    distributed=True,
    factor=4.0,
    separates_copies=True,
)
def semdedup(
    embeddings: NDArray[np.float32], rng: np.random.Generator, *, clusters: Count = 0, keep: Keep = "hard"
) -> NDArray[np.float64]:
    """Compute the largest cosine similarity to the images before it in its k-means cluster.

    SemDeDup drops the images whose score exceeds 1 − eps; `select.semdedup` does so before a strategy selects. As in
    the paper, an image is compared with all images before it, also with those that are dropped themselves, and
    similarities below 0 count as 0. Deviations: clusters are those of Euclidean k-means on embeddings of length 1,
    not of spherical k-means; their default number is one for each 5,000 images, where the paper has 50,000 for 440
    million.

    Parameters
    ----------
    embeddings : (n, d) float32
        Of any length. Zero rows are in no cluster and have the score 0.
    rng : numpy.random.Generator
        Initializes k-means, and orders images with ``keep="random"``.
    clusters : int
        0: one for each 5,000 images.
    keep : {"hard", "easy", "random"}
        Which of similar images comes first, and so has the lower score: the one least similar to the centroid of the
        cluster, as in the paper; the one most similar to it; or a random one. Ties go to the lower index.

    Returns
    -------
    (n,) float64
        In [0, 1]; 0 for the first image of a cluster, exactly 1 for a copy of an earlier image.
    """
    return similarity_to_earlier(embeddings, rng, clusters=clusters, keep=keep)
