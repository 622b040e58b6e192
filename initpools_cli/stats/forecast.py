"""Forecast of the accuracy that more labels add."""

from __future__ import annotations

import math
from typing import NamedTuple

#: Labels below which there is no forecast: with fewer, its intervals were no better than those of simple rules.
FEWEST = 70
#: Gain per logarithm of the number of labels: a share of the error, and of the slope from half of the labels to four
#: fifths. Fitted on sign-digits and CIFAR-10 by benchmarks/forecast.py, and checked on MNIST and waste.
OF_ERROR, OF_SLOPE = 0.095, 0.25
#: Ends of the 90 % interval: a share of the gain below, and noise of 1 / √n and √h / n.
BELOW, NOISE_BELOW, NOISE_ABOVE, FAR_ABOVE = 0.44, 0.15, 0.06, 0.6
#: Largest number of labels to a target that is forecast, relative to the labels there are.
FARTHEST = 3.0


class Gain(NamedTuple):
    """Expected gain of accuracy, and the ends of its 90 % interval."""

    mean: float
    low: float
    high: float


def slope_of(error: float, accuracy: float, half_accuracy: float) -> float:
    """Return the expected gain when the logarithm of the number of labels grows by one.

    Parameters
    ----------
    error : float
        Expected error on the images without a label: 1 minus the mean calibrated confidence.
    accuracy : float
        Cross-validated in five folds: with four fifths of the labels.
    half_accuracy : float
        Accuracy of models with random halves of the labels, on the other halves.
    """
    slope = (accuracy - half_accuracy) / math.log(0.8 / 0.5)
    return max(0.0, OF_ERROR * error + OF_SLOPE * slope)


def expected_gain(slope: float, labels: int, more: int) -> Gain:
    """Forecast the gain of accuracy of more labels, chosen like those before."""
    mean = slope * math.log1p(more / labels)
    low = (1 - BELOW) * mean - NOISE_BELOW / math.sqrt(labels)
    high = mean + NOISE_ABOVE / math.sqrt(labels) + FAR_ABOVE * math.sqrt(more) / labels
    return Gain(mean, low, high)


def labels_to(target: float, accuracy: float, slope: float, labels: int) -> int | None:
    """Forecast how many more labels reach an accuracy; None if that is too far away."""
    if accuracy >= target:
        return 0
    log_growth = (target - accuracy) / slope if slope > 0 else math.inf
    return math.ceil(labels * math.expm1(log_growth)) if log_growth < math.log1p(FARTHEST) else None
