"""Strategy `auto`: TypiClust, margin or random draws, whichever kind of labels is missed most when left out."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from initpools_cli.geometry.density import typicality
from initpools_cli.geometry.kmeans import kmeans
from initpools_cli.geometry.logits import logits_of
from initpools_cli.geometry.ridge import leave_one_out, ridge
from initpools_cli.strategies.margin import margin
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection, unlabeled_rows
from initpools_cli.strategies.typiclust import typiclust

Strategy = Literal["typiclust", "margin", "random"]
Indices = NDArray[np.int64]
NEIGHBORS = 20
# Random sets of labels that are left out.
DRAWS = 5
# Penalty of the classifier, relative to the mean squared length of its inputs.
PENALTY = 0.1


@strategies.register(paper="Hacohen & Weinshall 2023, arXiv:2306.03543", nested=False, cost="n d k", factor=40.0)
def auto(
    embeddings: NDArray[np.float32],
    labeled: NDArray[np.int64],
    budget: int,
    rng: np.random.Generator,
    probs: NDArray[np.float64] | None = None,
    labels: NDArray[np.int64] | None = None,
    *,
    epsilon: Annotated[float, Field(gt=0, le=0.5)] = 0.05,
) -> Selection:
    """Choose by TypiClust, margin or at random: whichever kind of labels is missed most when some of them are left out.

    This is the test of SelectAL, after the code of Huseljic et al. 2026. Of the labeled images of each class, `epsilon`
    are left out, the same number of each class, at least one of classes that have two: once the most typical, once the
    least typical, five times at random. Where the accuracy is lowest, labels of that kind are worth most, and the next
    ones are chosen by `typiclust`, `margin` or `random`. Ties go to the earlier of these, so it is `typiclust` while
    classes have one label each, without a model, and without labels.

    Differences from the paper and this code:

    - The classifier is a ridge regression of embeddings, where the paper trains the network again.
    - Accuracy is measured on all labeled images, each predicted without itself. The code draws validation sets from
      those that were not left out, which become easier once the least typical are gone.
    - A class with fewer labels keeps one, where the code leaves out no more of any class than the smallest has.
    - Uncertain images are chosen by `margin`, where the code takes BADGE.
    - TAILOR's choice by a bandit is not possible here, because a query has no memory.

    Parameters
    ----------
    embeddings : (n, d) float32
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator
    probs : (n, c) float64, optional
        Predictions of a model trained on the labeled images; rows sum to 1.
    labels : (n,) int64, optional
        Bought labels, -1 elsewhere.
    epsilon : float
        Share of the labels that is left out.

    Returns
    -------
    Selection
        That of the strategy.
    """
    name: Strategy = "typiclust"
    if probs is not None and labels is not None:
        known_rows = labeled[labels[labeled] >= 0]
        name = most_missed(embeddings[known_rows], labels[known_rows], epsilon, rng)
    if name == "margin":
        assert probs is not None
        return margin(probs, labeled, budget)
    if name == "random":
        return Selection(rng.choice(unlabeled_rows(len(embeddings), labeled), budget, replace=False))
    return typiclust(embeddings, labeled, budget, rng)


def most_missed(points: NDArray[np.float32], labels: Indices, epsilon: float, rng: np.random.Generator) -> Strategy:
    """Find the strategy for which labels like those that it chooses are missed most when left out.

    Parameters
    ----------
    points : (m, d) float32
        Labeled images.
    labels : (m,) int64
    epsilon : float
    rng : numpy.random.Generator
    """
    of_class = [np.flatnonzero(labels == each) for each in np.unique(labels)]
    if len(of_class) < 2 or max(map(len, of_class)) < 2:
        return "typiclust"
    each = max(1, int(epsilon * len(labels)) // len(of_class))
    # A class keeps one label at least.
    sets = [(rows, min(each, len(rows) - 1)) for rows in of_class if len(rows) > 1]
    typical = np.concatenate([rows[most_typical_rows(points[rows], count, rng)] for rows, count in sets])
    atypical = np.concatenate([rows[least_typical_rows(points[rows], count, rng)] for rows, count in sets])
    samples = [np.concatenate([rng.choice(rows, count, replace=False) for rows, count in sets]) for _ in range(DRAWS)]
    right: dict[Strategy, float] = {
        "typiclust": correct_without(points, labels, typical),
        "margin": correct_without(points, labels, atypical),
        "random": sum(correct_without(points, labels, rows) for rows in samples) / DRAWS,
    }
    return min(right, key=right.__getitem__)


def most_typical_rows(points: NDArray[np.float32], count: int, rng: np.random.Generator) -> Indices:
    """Choose `count` rows as TypiClust does."""
    return typiclust(points, np.empty(0, np.int64), count, rng).indices


def least_typical_rows(points: NDArray[np.float32], count: int, rng: np.random.Generator) -> Indices:
    """Choose the least typical row of each of `count` k-means clusters."""
    clusters = kmeans(points, count, rng).labels
    values = np.empty(len(points))
    for each in np.unique(clusters):
        rows = clusters == each
        values[rows] = typicality(points[rows], NEIGHBORS)
    # The least typical of each cluster, then the second least typical, if clusters are empty.
    order = np.lexsort((values, clusters))
    turn = np.empty(len(points), np.int64)
    turn[order] = np.arange(len(points)) - np.searchsorted(clusters[order], clusters[order])
    return np.lexsort((values, turn))[:count]


def correct_without(points: NDArray[np.float32], labels: Indices, left_out: Indices) -> int:
    """Count the labeled images that ridge regression predicts correctly without those left out, and without themselves.

    Parameters
    ----------
    points : (m, d) float32
    labels : (m,) int64
    left_out : (k,) int64
    """
    classes, codes = np.unique(labels, return_inverse=True)
    rest = np.setdiff1d(np.arange(len(labels)), left_out)
    targets = np.eye(len(classes))[codes]
    own = leave_one_out(points[rest], targets[rest], PENALTY).argmax(axis=1)
    others = logits_of(points[left_out], ridge(points[rest], targets[rest], PENALTY)).argmax(axis=1)
    return int((own == codes[rest]).sum() + (others == codes[left_out]).sum())
