"""Forecast of a round: what more labels would add, and what holds the accuracy back."""

from __future__ import annotations

from typing import Any

import numpy as np

from initpools_cli.stats.forecast import FEWEST, expected_gain, labels_to, slope_of

#: Numbers of further labels. Forecasts for 20 labels were not 20 % better than those of simple rules everywhere.
MORE = (50, 100)
#: Learners whose forecasts were measured.
MEASURED = ("linear",)
#: Pairs of classes that are listed.
PAIRS = 3


def cannot_forecast(learner: str, labels: int, classes: int) -> str:
    """Return why there can be no forecast, as a sentence; empty if there can."""
    if learner not in MEASURED:
        return f"Forecasts were only tested with the learner {MEASURED[0]}, not with {learner}."
    if classes < 2:
        return "All labels are of one class."
    if labels < FEWEST:
        return f"There are {labels} labels, and forecasts need {FEWEST}."
    return ""


def forecast_outcome(
    why: str, quality: dict[str, Any], rest: np.ndarray | None, labels: int, target: float
) -> dict[str, Any]:
    """Return the key ``forecast`` of the outcome of a round.

    Parameters
    ----------
    why : str
        From `cannot_forecast`.
    quality : dict
        Cross-validated metrics with ``half_accuracy``.
    rest : (u, c) float64 or None
        Calibrated probabilities of the images without a label. Their mean confidence is the accuracy from which a
        target is forecast: it was closer to the accuracy than that of cross-validation or of a few audit images.
    labels : int
        Number of labels that count.
    target : float
    """
    why = why or ("" if "half_accuracy" in quality else "Cross-validation is not possible.")
    why = why or ("" if rest is not None and len(rest) else "No images are left to label.")
    if why or rest is None:
        return {"forecast": {"can": False, "reason": why, "target": target}}
    accuracy = float(rest.max(axis=1).mean())
    slope = slope_of(1 - accuracy, quality["accuracy"], quality["half_accuracy"])
    forecast: dict[str, Any] = {"can": True, "target": target}
    forecast |= {f"gain_{more}": list(expected_gain(slope, labels, more)) for more in MORE if more <= len(rest)}
    label_count = labels_to(target, accuracy, slope, labels)
    if label_count is not None and label_count <= len(rest):
        forecast["labels_to_target"] = label_count
    return {"forecast": forecast}


def confused_pairs(predictions: np.ndarray, codes: np.ndarray, classes: tuple[str, ...]) -> list[list[Any]]:
    """Return the pairs of classes that are confused most often, in either direction, with their numbers."""
    counts = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(counts, (codes, predictions), 1)
    both = np.triu(counts + counts.T, 1)
    order = np.argsort(-both, axis=None, kind="stable")[:PAIRS]
    pairs = zip(*np.unravel_index(order, both.shape), strict=True)
    return [[classes[a], classes[b], int(both[a, b])] for a, b in pairs if both[a, b]]
