"""Agreement of clusters with classes: matched accuracy, NMI and ARI."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def matched_accuracy(labels: NDArray[np.int64], clusters: NDArray[np.int64]) -> float:
    """Compute the accuracy under the best one-to-one matching of clusters to classes (Kuhn 1955).

    Images of unmatched clusters or classes count as wrong.

    Parameters
    ----------
    labels, clusters : (n,) int64

    Returns
    -------
    float
        In [0, 1].
    """
    from scipy.optimize import linear_sum_assignment

    classes, of_class = np.unique(labels, return_inverse=True)
    groups, of_group = np.unique(clusters, return_inverse=True)
    counts = np.zeros((len(groups), len(classes)), np.int64)
    np.add.at(counts, (of_group, of_class), 1)
    return float(counts[linear_sum_assignment(counts, maximize=True)].sum() / len(labels))


def agreement(labels: NDArray[np.int64], clusters: NDArray[np.int64]) -> dict[str, float]:
    """Compute ACC (`matched_accuracy`), NMI (arithmetic mean) and ARI of a clustering.

    Parameters
    ----------
    labels, clusters : (n,) int64

    Returns
    -------
    dict
        acc, nmi, ari.
    """
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    return {
        "acc": matched_accuracy(labels, clusters),
        "nmi": float(normalized_mutual_info_score(labels, clusters)),
        "ari": float(adjusted_rand_score(labels, clusters)),
    }
