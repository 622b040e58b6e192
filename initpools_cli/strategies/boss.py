"""Strategy `boss`: the best of many batches of an ensemble of strategies, by an oracle."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.bounds import Passes
from initpools_cli.geometry.distances import distances_to
from initpools_cli.geometry.logits import logits_of
from initpools_cli.geometry.ridge import ridge
from initpools_cli.strategies.class_balanced import refuse_unknown
from initpools_cli.strategies.ensemble import ModelArrays
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.runtime import SUBSET
from initpools_cli.strategies.selection import Selection, unlabeled_rows

ENSEMBLE = ("random", "typiclust", "dropquery", "margin", "badge", "kcenter", "alfamix")
BY_CLASS = "class medoids"
# Smallest subset, in budgets.
SMALLEST = 4
# Penalty of the classifier that judges batches, relative to the mean squared length of its inputs.
PENALTY = 0.1


@strategies.register(
    paper="Huseljic et al. 2026, arXiv:2603.13109",
    nested=False,
    cost="t s d b",
    factor=20.0,
    needs_model=True,
    oracle=True,
)
def boss(
    embeddings: NDArray[np.float32],
    features: NDArray[np.float32],
    head: NDArray[np.float64],
    probs: NDArray[np.float64],
    labels: NDArray[np.int64],
    labeled: NDArray[np.int64],
    budget: int,
    rng: np.random.Generator,
    *,
    batches: Passes = 100,
) -> Selection:
    """Take the best of many batches of eight strategies, judged by the labels of all images.

    It is a reference for comparison only: how much better a batch could have been chosen, had its labels been known.
    Each batch is chosen by one of `random`, `typiclust`, `dropquery`, `margin`, `badge`, `kcenter`, `alfamix` and the
    class medoids of the authors' code, in turn, from a random subset of 4 budgets to 5,000 images. A linear classifier
    of the features is fitted to the labeled images and the batch, and the batch with the highest accuracy is taken.

    Differences from the paper and its code:

    - The accuracy is that on all images to choose from. The paper's is on the test images, which would make test
      accuracies of a sweep too high.
    - The classifier is a ridge regression, where the paper trains the last layer by gradient descent.
    - BAIT and the class-wise variant of DropQuery are left out.
    - Every strategy has equally many batches, where the code draws their numbers.

    Parameters
    ----------
    embeddings : (n, d) float32
    features : (n, h) float32
        Inputs of the last layer.
    head : (h + 1, c) float64
        Weights of the last layer, with the bias as the last row.
    probs : (n, c) float64
        Rows sum to 1.
    labels : (n,) int64
        Labels of all images.
    labeled : (m,) int64
    budget : int
    rng : numpy.random.Generator
    batches : int
        Number of batches.

    Returns
    -------
    Selection

    Raises
    ------
    UserError
        If labels are unknown (-1).
    """
    refuse_unknown("boss", labels)
    model = ModelArrays(embeddings, features, head, probs, labeled, labels)
    targets = np.eye(max(probs.shape[1], int(labels.max()) + 1))[labels]
    best, picks = -1, np.empty(0, np.int64)
    for batch in candidate_batches(model, labels, budget, batches, rng):
        rows = np.concatenate([labeled, batch])
        weights = ridge(features[rows], targets[rows], PENALTY)
        right = int(np.count_nonzero(logits_of(features, weights).argmax(axis=1) == labels))
        if right > best:
            best, picks = right, batch
    return Selection(picks)


def candidate_batches(
    model: ModelArrays, labels: NDArray[np.int64], budget: int, batches: int, rng: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Yield batches, each of the next strategy of the ensemble on a random subset of random size."""
    names = (*ENSEMBLE, BY_CLASS)
    free = unlabeled_rows(len(labels), model.labeled)
    largest = max(budget, min(len(free), SUBSET))
    smallest = min(SMALLEST * budget, largest)
    for number in range(batches):
        subset = rng.choice(free, int(rng.integers(smallest, largest + 1)), replace=False)
        name = names[number % len(names)]
        if name == BY_CLASS:
            yield class_medoids(model.embeddings, labels, np.sort(subset), model.labeled, budget)
        else:
            yield model.choose(name, subset, budget, rng)


def class_medoids(
    points: NDArray[np.float32],
    labels: NDArray[np.int64],
    candidates: NDArray[np.int64],
    labeled: NDArray[np.int64],
    budget: int,
) -> NDArray[np.int64]:
    """Take the candidate nearest the mean of those of its class, for the class with the fewest labels and picks."""
    counts = np.bincount(labels[labeled], minlength=int(labels.max()) + 1)
    members = {int(each): candidates[labels[candidates] == each] for each in np.unique(labels[candidates])}
    picks = np.empty(budget, np.int64)
    for place in range(budget):
        each = min(members, key=lambda label: (counts[label], label))
        rows = members[each]
        center = points[rows].mean(axis=0, dtype=np.float64).astype(np.float32)
        at = int(distances_to(points[rows], center).argmin())
        picks[place] = rows[at]
        counts[each] += 1
        members[each] = np.delete(rows, at)
        if not len(members[each]):
            del members[each]
    return picks
