"""Temperature that calibrates a learner, by cross-validation on its labeled images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from initpools_cli.core.seeds import derive
from initpools_cli.stats.temperature import fit_temperature
from initpools_cli.training.crossvalidation import assign_group_folds
from initpools_cli.training.learners.registry import Classifier


def calibration_of(
    fit: Callable[[np.ndarray, int], Classifier],
    inputs: np.ndarray,
    labeled: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    classes: int,
    seed: int,
) -> np.ndarray:
    """Fit the temperature on labeled images, each predicted by a model that was trained without its fold.

    Parameters
    ----------
    fit : callable
        Takes train rows and a seed; returns a model.
    inputs : (m, …) ndarray
        Inputs of the model for the labeled images.
    labeled, labels, groups : (m,) int64
        Train rows of the images, their classes and groups; images of a group are in the same fold.
    classes : int
    seed : int

    Returns
    -------
    (1,) float64
        1 for images of a single group.
    """
    folds = assign_group_folds(labels, groups, seed)
    if not folds.any():
        return np.ones(1)
    logits = np.empty((len(labels), classes))
    for fold in range(int(folds.max()) + 1):
        held_out = folds == fold
        logits[held_out] = fit(labeled[~held_out], derive(seed, fold)).logits(inputs[held_out])
    if not np.isfinite(logits).all():
        raise FloatingPointError("the learner's logits are not finite: its training has diverged")
    return np.array([fit_temperature(logits, labels)])
