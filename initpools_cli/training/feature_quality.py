"""What features are worth, seen from outside: their rank, which needs no labels, and two accuracies, which do.

Nothing is trained on, stopped or chosen by these numbers.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.seeds import generator
from initpools_cli.geometry.effective_rank import rankme
from initpools_cli.geometry.neighbors import nearest_k
from initpools_cli.geometry.normalize import unit_rows
from initpools_cli.geometry.standardize import scaling

#: Rows the rank is taken of, at most, and numbers in them: a square of the shorter side is decomposed.
RANKED, RANKED_NUMBERS = 4_096, 2**22
#: Rows of train, and of the split they are measured on, that the accuracies are taken of, and numbers in each.
PROBED, PROBED_NUMBERS = 10_000, 2**25
#: Of the k-NN vote, as in Wu et al. 2018.
NEIGHBORS, TEMPERATURE = 20, 0.07
#: Of the linear probe: its penalty beside the mean cross-entropy, the gradient it is solved to, and steps at most.
PENALTY, TOLERANCE, STEPS = 0.01, 1e-3, 1_000
#: Of the directions there could be beyond the first, the share below which features count as collapsed.
COLLAPSED = 0.02

Floats = NDArray[np.floating]
Labels = NDArray[np.int64]


def sampled(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most `most` of the rows, ascending: always the same ones, so that numbers of two runs can be compared.

    Drawn, because every tenth image may be of the same class.
    """
    return rows if len(rows) <= most else np.sort(generator(0, "quality").choice(rows, most, replace=False))


def probed(rows: NDArray[np.int64], d: int) -> NDArray[np.int64]:
    """The rows of features of width `d` that the accuracies are taken of."""
    return sampled(rows, max(1, min(PROBED, PROBED_NUMBERS // d)))


def feature_rank(features: Floats, rows: NDArray[np.int64]) -> tuple[float, int]:
    """`rankme` of some rows of (n, d) features, and the most it could be.

    Parameters
    ----------
    features : ndarray
        (n, d) float, may be memory-mapped.
    rows : ndarray
        (m,) int64, ascending; of many, some thousands are drawn.

    Returns
    -------
    rank : float
    most : int
        The smaller of d and the number of rows it was taken of.
    """
    d = features.shape[1]
    chosen = sampled(rows, max(1, min(RANKED, RANKED_NUMBERS // d)))
    return rankme(features[chosen]), min(len(chosen), d)


def collapse_below(most: int) -> float:
    """The RankMe below which features count as collapsed, where it could be `most`: 2 % of the way there from 1.

    Of digits, MNIST and CIFAR-10, features of every task that learned were more than 20 % of the way, those
    of untrained networks more than 2 %, and those of an encoder that maps all images to one point were at 0 %.

    Returns
    -------
    float
        0 where there is one direction at most, and nothing could collapse.
    """
    return 1 + COLLAPSED * (most - 1) if most > 1 else 0.0


def knn_accuracy(train: Floats, train_labels: Labels, test: Floats, test_labels: Labels, k: int = NEIGHBORS) -> float:
    """The share of test rows whose class wins the vote of the k nearest train rows by cosine.

    A vote weighs ``exp(cosine / 0.07)`` (Wu et al. 2018, arXiv:1805.01978); the lower class number wins a draw.

    Parameters
    ----------
    train, test : (n, d) and (m, d) float
        Not normalized.
    train_labels, test_labels : (n,) and (m,) int64
        A class that train does not have is never right.
    """
    near, distance = nearest_k(unit_rows(test), unit_rows(train), min(k, len(train)))
    # Of unit rows: cosine = 1 - distance² / 2. Only differences of the exponents matter, so nothing overflows.
    weights = np.exp((distance[:, :1] ** 2 - distance**2) / (2 * TEMPERATURE))
    votes = np.zeros((len(test), int(train_labels.max()) + 1))
    np.add.at(votes, (np.arange(len(test))[:, None], train_labels[near]), weights)
    return float(np.mean(votes.argmax(axis=1) == test_labels))


def linear_accuracy(train: Floats, train_labels: Labels, test: Floats, test_labels: Labels) -> tuple[float, bool]:
    """Accuracy on test of a logistic regression on the frozen features of train, solved to convergence.

    It minimizes ``mean cross-entropy + 0.005 ||weights||²`` of features standardized by the mean and deviation of
    train; the penalty is fixed, so no labels are spent on choosing it.

    Parameters
    ----------
    train, test : (n, d) and (m, d) float
    train_labels, test_labels : (n,) and (m,) int64
        A class that train does not have is never right.

    Returns
    -------
    accuracy : float
    converged : bool
        False where the solver ran out of steps.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    classes = np.unique(train_labels)
    if len(classes) < 2:
        return float(np.mean(test_labels == classes[0])), True
    scaled = scaling(train, "each")
    inputs, outside = scaled(train), scaled(test)
    probe = LogisticRegression(C=1 / (PENALTY * len(inputs)), tol=TOLERANCE, max_iter=STEPS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        probe.fit(inputs, train_labels)
    return float(np.mean(probe.predict(outside) == test_labels)), int(probe.n_iter_.max()) < STEPS
