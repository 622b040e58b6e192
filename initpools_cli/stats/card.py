"""Report card of a pool: coverage, redundancy, class balance, and comparison with random pools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Quantities that pools are compared by, and whether higher is better.
QUANTITIES: Mapping[str, bool] = {
    "coverage_radius": False,
    "coverage_radius_95": False,
    "mean_distance": False,
    "redundancy": False,
    "spacing": True,
    "groups_covered": True,
    "classes_missed": False,
    "entropy": True,
    "imbalance": False,
}


def coverage(distances: NDArray[np.float64]) -> dict[str, float]:
    """Summarize the distances of images to the nearest labeled image.

    Parameters
    ----------
    distances : (n,) float64
        From every image to the nearest pick or labeled image.

    Returns
    -------
    dict
        coverage_radius (the largest), coverage_radius_95 (95 % of the images are nearer), mean_distance.
    """
    return {
        "coverage_radius": float(distances.max()),
        "coverage_radius_95": float(np.quantile(distances, 0.95)),
        "mean_distance": float(distances.mean()),
    }


def repetition(gaps: NDArray[np.float64], is_copy: NDArray[np.bool_], mean_distance: float) -> dict[str, Any]:
    """Measure the redundancy of a pool.

    Parameters
    ----------
    gaps : (b,) float64
        Distance from each pick to the nearest other pick or labeled image; inf if there is none.
    is_copy : (b,) bool
        Whether an earlier pick or a labeled image has exactly the same embedding.
    mean_distance : float
        Mean distance of all images to the nearest pick.

    Returns
    -------
    dict
        redundancy (share of picks whose gap is at most `mean_distance`), duplicates (number of picks in `is_copy`) and,
        if all gaps are finite, spacing (the mean gap).
    """
    facts: dict[str, Any] = {"redundancy": float((gaps <= mean_distance).mean()), "duplicates": int(is_copy.sum())}
    if np.isfinite(gaps).all():
        facts["spacing"] = float(gaps.mean())
    return facts


def balance(labels: NDArray[np.int64], available: NDArray[np.int64]) -> dict[str, Any]:
    """Measure the class balance of a pool.

    Parameters
    ----------
    labels : (m,) int64
        Classes of the images in the pool; at least one.
    available : (k,) int64
        All classes of the data set, ascending.

    Returns
    -------
    dict
        counts (k of them), classes_missed, entropy (of the class frequencies, divided by ln k: 1 is uniform),
        imbalance (size of the largest class over that of the smallest, of the classes in the pool).
    """
    counts = np.bincount(np.searchsorted(available, labels), minlength=len(available))
    # Sorted, so that the entropy is bitwise invariant to the order of the classes.
    shares = np.sort(counts[counts > 0]) / counts.sum()
    entropy = float(-(shares * np.log(shares)).sum() / np.log(len(counts))) if len(counts) > 1 else 1.0
    return {
        "counts": counts,
        "classes_missed": int((counts == 0).sum()),
        "entropy": abs(entropy),
        "imbalance": float(counts.max() / counts[counts > 0].min()),
    }


def groups_covered(groups: NDArray[np.int64], pool_groups: NDArray[np.int64]) -> dict[str, int]:
    """Count the groups with a labeled image.

    Parameters
    ----------
    groups : (n,) int64
        The group of every image.
    pool_groups : (m,) int64
        The groups of the images in the pool; at least one.

    Returns
    -------
    dict
        groups, groups_covered, and largest_group (the most images in the pool that are of one group).
    """
    _, counts = np.unique(pool_groups, return_counts=True)
    return {"groups": len(np.unique(groups)), "groups_covered": len(counts), "largest_group": int(counts.max())}


def clusters_hit(clusters: NDArray[np.int64], rows: NDArray[np.int64]) -> dict[str, Any]:
    """Count the clusters that contain an image of the pool.

    Parameters
    ----------
    clusters : (n,) int64
        Cluster of every image.
    rows : (m,) int64
        The images in the pool.

    Returns
    -------
    dict
        clusters (nonempty ones), clusters_hit, cluster_coverage (share of clusters hit).
    """
    there, hit = len(np.unique(clusters)), len(np.unique(clusters[rows]))
    return {"clusters": there, "clusters_hit": hit, "cluster_coverage": hit / there}


def mean_percentile(values: NDArray[np.float64], among: NDArray[np.float64]) -> float:
    """Compute the mean over `values` of the share of `among` that is lower, ties counted half."""
    sorted_values = np.sort(among)
    below = np.searchsorted(sorted_values, values, "left") + np.searchsorted(sorted_values, values, "right")
    return float(below.mean() / (2 * len(among)))


def compare_with_random(value: float, random: NDArray[np.float64], higher_is_better: bool) -> dict[str, float]:
    """Compare a quantity of a pool with that of random pools.

    Parameters
    ----------
    value : float
        Quantity of the pool.
    random : (r,) float64
        Quantity of each random pool.
    higher_is_better : bool

    Returns
    -------
    dict
        value, percentile (share of the random pools that are worse, ties counted half), random_mean, random_5 and
        random_95 (the quantiles of 5 and 95 %).
    """
    sign = 1 if higher_is_better else -1
    return {
        "value": float(value),
        "percentile": mean_percentile(np.array([sign * value]), sign * random),
        "random_mean": float(random.mean()),
        "random_5": float(np.quantile(random, 0.05)),
        "random_95": float(np.quantile(random, 0.95)),
    }


def compare_strategies(
    cards: Mapping[str, Mapping[str, Any]], random: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Compare the pool of every strategy with random pools, by each quantity that all cards have.

    Parameters
    ----------
    cards : mapping of str to mapping
        Report card of each strategy's pool.
    random : sequence of mapping
        Report cards of the random pools.

    Returns
    -------
    list of dict
        quantity, strategy, and the results of `compare_with_random`.
    """
    rows = []
    for quantity, higher in QUANTITIES.items():
        if any(quantity not in card for card in [*cards.values(), *random]):
            continue
        values = np.array([float(card[quantity]) for card in random])
        rows += [
            {"quantity": quantity, "strategy": name, **compare_with_random(float(card[quantity]), values, higher)}
            for name, card in cards.items()
        ]
    return rows
