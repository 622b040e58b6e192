"""Accuracy on the images without a label, estimated from an audit sample."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.stats.proportions import EFFECTIVE, wilson_interval

#: Images that the variance of confidences that explain nothing is worth, so that a few images do not claim precision.
PRIOR_IMAGES = 20


def audit_accuracy(
    right: NDArray[np.bool_],
    confidence: NDArray[np.float64],
    audit: NDArray[np.bool_],
    rounds: NDArray[np.int64],
    unlabeled: int,
    unlabeled_confidence: float,
) -> tuple[float, float, float]:
    """Estimate the share of the images without a label about which a model is right, with its 95 % interval.

    The audit images of a round are a random sample of all images that had no label then. Of these, the images labeled
    since are known, and the others are those without a label now. So the mean over the sample, times the number of
    images then, minus the sum over the images labeled since, is an unbiased estimate of the sum over the images without
    a label. The means are of right minus confidence, whose mean over the images without a label is added again
    (prediction-powered inference, Angelopoulos et al. 2023, arXiv:2301.09633), which lowers the variance where
    confidences say something. Rounds are weighted by the inverse of their variance.

    The interval is Wilson's, with as many images as the variance stands for. The labeled images are predicted by
    cross-validation, whose error is added as in `cross_validated_interval`.

    Parameters
    ----------
    right : (m,) bool
        Whether the cross-validated prediction of each labeled image is right.
    confidence : (m,) float
        Its calibrated confidence.
    audit : (m,) bool
        Whether the image is of an audit sample; at least one.
    rounds : (m,) int
        The round in which its label was added.
    unlabeled : int
        Number of images without a label, at least 1.
    unlabeled_confidence : float
        Mean confidence of their predictions, by the model of all labels.

    Returns
    -------
    estimate, low, high : float
        In [0, 1].
    """
    correct = right.astype(np.float64)
    difference = correct - confidence
    total = weights = 0.0
    for number in np.unique(rounds[audit]):
        sample, since = audit & (rounds == number), rounds >= number
        then, size = unlabeled + int(since.sum()), int(sample.sum())
        estimate = (then * difference[sample].mean() - difference[since].sum()) / unlabeled
        weight = size * (unlabeled / then) ** 2 / (1 - size / then)
        total, weights = total + weight * estimate, weights + weight
    share = float(np.clip(unlabeled_confidence + total / weights, 0, 1))
    variance = _explained(correct, difference, audit) / weights + (1 / EFFECTIVE - 1) / len(right)
    low, high = wilson_interval(share, 1 / variance)
    return share, low, high


def _explained(correct: NDArray[np.float64], difference: NDArray[np.float64], audit: NDArray[np.bool_]) -> float:
    """Return the variance of the differences relative to that without confidences, at most 1.

    It is that of the audit images, drawn towards that of all labeled images.
    """

    def squares(values: NDArray[np.float64]) -> float:
        return float(((values - values.mean()) ** 2).sum())

    everywhere = min(1.0, squares(difference) / max(squares(correct), 1e-9))
    prior = PRIOR_IMAGES * 0.2
    ratio = (squares(difference[audit]) + prior * everywhere) / (squares(correct[audit]) + prior)
    return min(1.0, ratio)
