"""The report card of a pool: what it covers, what it repeats, which classes it has, and how random pools do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: What a pool is compared by, and whether more of it is better.
QUANTITIES: Mapping[str, bool] = {
    "coverage_radius": False,
    "coverage_radius_95": False,
    "mean_distance": False,
    "redundancy": False,
    "spacing": True,
    "classes_missed": False,
    "entropy": True,
    "imbalance": False,
}


def coverage(distances: NDArray[np.float64]) -> dict[str, float]:
    """How near the images are to what is labeled.

    Parameters
    ----------
    distances : (n,) float64
        From every image to the nearest pick, or the nearest image that is labeled already.

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


def repetition(gaps: NDArray[np.float64], repeated: NDArray[np.bool_], mean_distance: float) -> dict[str, Any]:
    """How much of a pool says the same twice.

    Parameters
    ----------
    gaps : (b,) float64
        From each pick to the nearest other pick or labeled image; inf where there is none.
    repeated : (b,) bool
        Picks that are exactly an earlier pick or a labeled image.
    mean_distance : float
        Of all images to the nearest pick.

    Returns
    -------
    dict
        redundancy (share of picks at most as far from another as the average image is from its pick), duplicates (how
        many are `repeated`), and, where there are others, spacing (the mean gap).
    """
    facts: dict[str, Any] = {"redundancy": float((gaps <= mean_distance).mean()), "duplicates": int(repeated.sum())}
    if np.isfinite(gaps).all():
        facts["spacing"] = float(gaps.mean())
    return facts


def balance(labels: NDArray[np.int64], available: NDArray[np.int64]) -> dict[str, Any]:
    """How evenly images fall into classes.

    Parameters
    ----------
    labels : (m,) int64
        Of the images that will be labeled; at least one.
    available : (k,) int64
        The classes there are to find, ascending.

    Returns
    -------
    dict
        counts (k of them), classes_missed, entropy (of the class frequencies, over that of k even ones: 1 is even),
        imbalance (largest class over smallest, of those that were found).
    """
    counts = np.bincount(np.searchsorted(available, labels), minlength=len(available))
    # Sorted, so that pools whose classes are alike but for their names tie to the last bit.
    shares = np.sort(counts[counts > 0]) / counts.sum()
    entropy = float(-(shares * np.log(shares)).sum() / np.log(len(counts))) if len(counts) > 1 else 1.0
    return {
        "counts": counts,
        "classes_missed": int((counts == 0).sum()),
        "entropy": abs(entropy),
        "imbalance": float(counts.max() / counts[counts > 0].min()),
    }


def clusters_hit(clusters: NDArray[np.int64], rows: NDArray[np.int64]) -> dict[str, Any]:
    """In how many clusters something will be labeled.

    Parameters
    ----------
    clusters : (n,) int64
    rows : (m,) int64
        The images that will be labeled.

    Returns
    -------
    dict
        clusters (those with an image), clusters_hit, cluster_coverage (their share).
    """
    there, hit = len(np.unique(clusters)), len(np.unique(clusters[rows]))
    return {"clusters": there, "clusters_hit": hit, "cluster_coverage": hit / there}


def mean_percentile(values: NDArray[np.float64], among: NDArray[np.float64]) -> float:
    """The mean over `values` of the share of `among` that is lower, ties counted half; 0.5 for `among` itself."""
    ordered = np.sort(among)
    below = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
    return float(below.mean() / (2 * len(among)))


def standing(value: float, random: NDArray[np.float64], higher_is_better: bool) -> dict[str, float]:
    """Where a pool stands among random ones.

    Parameters
    ----------
    value : float
        Of the pool.
    random : (r,) float64
        The same quantity of random pools.
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


def side_by_side(cards: Mapping[str, Mapping[str, Any]], random: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Every strategy against the random pools, quantity by quantity; a quantity that a card lacks is left out.

    Parameters
    ----------
    cards : mapping of str to mapping
        The numbers of each strategy's pool.
    random : sequence of mapping
        Those of the random pools.

    Returns
    -------
    list of dict
        quantity, strategy, and what `standing` gives.
    """
    rows = []
    for quantity, higher in QUANTITIES.items():
        if any(quantity not in card for card in [*cards.values(), *random]):
            continue
        values = np.array([float(card[quantity]) for card in random])
        rows += [
            {"quantity": quantity, "strategy": name, **standing(float(card[quantity]), values, higher)}
            for name, card in cards.items()
        ]
    return rows
