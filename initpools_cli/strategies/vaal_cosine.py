"""Strategy `vaal-cosine`: lowest mean cosine similarity to labeled images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.geometry.chunked import map_blocks
from initpools_cli.geometry.distances import mean_row
from initpools_cli.strategies.embeddings import as_embeddings
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, best_first

ROWS = 4096


@strategies.register(nested=True, cost="n d", factor=5.0, ranks_logits=True)
def vaal_cosine(embeddings: NDArray[np.float32], labeled: NDArray[np.int64], budget: int) -> Selection:
    """Take the images with the largest sum of cosine distances to the labeled images.

    Without labeled images, to all images.

    Parameters
    ----------
    embeddings : (n, d) float32
    labeled : (m,) int64
    budget : int

    Returns
    -------
    Selection
        Scores: sum over labeled images of 1 − cos, from 0 to 2 m; zero rows have cosine 0.
    """
    directions = as_embeddings(embeddings, normalize=True)
    reference = directions[labeled] if len(labeled) else directions
    center = mean_row(reference)
    cosines = np.concatenate(
        map_blocks(lambda span: np.einsum("ij,j->i", directions[span], center), len(directions), ROWS)
    )
    return best_first(len(reference) * (1 - cosines), labeled, budget)
