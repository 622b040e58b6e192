"""Quality of features: effective rank, k-NN accuracy and linear-probe accuracy.

These numbers are reported only; training, stopping and selection do not use them.
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

#: Maximum of rows for the rank, and of numbers in them; the Gram matrix of the shorter side is decomposed.
RANKED, RANKED_NUMBERS = 4_096, 2**22
#: Maximum of rows of train and of the evaluation split for the accuracies, and of numbers in each.
PROBED, PROBED_NUMBERS = 10_000, 2**25
#: Number of neighbors and temperature of the k-NN vote, as in Wu et al. 2018.
NEIGHBORS, TEMPERATURE = 20, 0.07
#: L2 penalty, tolerance of the gradient and maximum of steps of the linear probe.
PENALTY, TOLERANCE, STEPS = 0.01, 1e-3, 1_000
#: Features are collapsed below this share of the possible rank beyond 1.
COLLAPSED = 0.02

Floats = NDArray[np.floating]
Labels = NDArray[np.int64]


def sample_rows(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Draw at most `most` of the rows, ascending; always the same ones, so that numbers of runs are comparable."""
    return rows if len(rows) <= most else np.sort(generator(0, "quality").choice(rows, most, replace=False))


def probe_rows(rows: NDArray[np.int64], d: int) -> NDArray[np.int64]:
    """Draw the rows of features of width `d` for the accuracies."""
    return sample_rows(rows, max(1, min(PROBED, PROBED_NUMBERS // d)))


def feature_rank(features: Floats, rows: NDArray[np.int64]) -> tuple[float, int]:
    """Compute `rankme` of rows of features, and its maximum.

    Parameters
    ----------
    features : ndarray
        (n, d) float, may be memory-mapped.
    rows : ndarray
        (m,) int64, ascending; at most 4,096 of them are used.

    Returns
    -------
    rank : float
    most : int
        The smaller of d and the number of rows used.
    """
    d = features.shape[1]
    sample = sample_rows(rows, max(1, min(RANKED, RANKED_NUMBERS // d)))
    return rankme(features[sample]), min(len(sample), d)


def collapse_below(most: int) -> float:
    """Compute the RankMe below which features count as collapsed: 2 % of the way from 1 to the maximum `most`.

    On digits, MNIST and CIFAR-10, features of all tasks that learned were above 20 % of the way, those of untrained
    networks above 2 %, and those of an encoder that maps all images to one point at 0 %.

    Returns
    -------
    float
        0 if `most` is at most 1.
    """
    return 1 + COLLAPSED * (most - 1) if most > 1 else 0.0


def knn_accuracy(train: Floats, train_labels: Labels, test: Floats, test_labels: Labels, k: int = NEIGHBORS) -> float:
    """Compute the accuracy of a weighted vote of the k nearest train rows by cosine.

    Votes have weight ``exp(cosine / 0.07)`` (Wu et al. 2018, arXiv:1805.01978); ties go to the lower class number.

    Parameters
    ----------
    train, test : (n, d) and (m, d) float
        Not normalized.
    train_labels, test_labels : (n,) and (m,) int64
        Test rows of classes without train rows count as wrong.
    """
    near, distance = nearest_k(unit_rows(test), unit_rows(train), min(k, len(train)))
    # For unit rows cosine = 1 - distance² / 2. Exponents are relative to the nearest row, so nothing overflows.
    weights = np.exp((distance[:, :1] ** 2 - distance**2) / (2 * TEMPERATURE))
    votes = np.zeros((len(test), int(train_labels.max()) + 1))
    np.add.at(votes, (np.arange(len(test))[:, None], train_labels[near]), weights)
    return float(np.mean(votes.argmax(axis=1) == test_labels))


def linear_accuracy(train: Floats, train_labels: Labels, test: Floats, test_labels: Labels) -> tuple[float, bool]:
    """Compute the test accuracy of a logistic regression on the features of train, solved to convergence.

    It minimizes ``mean cross-entropy + 0.005 ||weights||²`` on features standardized by mean and standard deviation of
    train; the penalty is fixed, so no labels are needed to choose it.

    Parameters
    ----------
    train, test : (n, d) and (m, d) float
    train_labels, test_labels : (n,) and (m,) int64
        Test rows of classes without train rows count as wrong.

    Returns
    -------
    accuracy : float
    converged : bool
        False if the solver reached the maximum of steps.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    classes = np.unique(train_labels)
    if len(classes) < 2:
        return float(np.mean(test_labels == classes[0])), True
    scale = scaling(train, "each")
    inputs, test_inputs = scale(train), scale(test)
    probe = LogisticRegression(C=1 / (PENALTY * len(inputs)), tol=TOLERANCE, max_iter=STEPS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        probe.fit(inputs, train_labels)
    return float(np.mean(probe.predict(test_inputs) == test_labels)), int(probe.n_iter_.max()) < STEPS
