"""The one door to labels: what has been bought may be read, any other read is counted."""

from __future__ import annotations

import numpy as np


class LabelDoor:
    """Train labels behind a price.

    Parameters
    ----------
    labels : ndarray
        (n,) int64.

    Attributes
    ----------
    leaks : int
        How many labels were read without having been bought.
    """

    def __init__(self, labels: np.ndarray) -> None:
        self._labels = labels
        self._bought = np.zeros(len(labels), dtype=bool)
        self.leaks = 0

    def buy(self, indices: np.ndarray) -> None:
        """Pay for the labels of these images."""
        self._bought[indices] = True

    def read(self, indices: np.ndarray) -> np.ndarray:
        """The labels of these images; those not bought are counted as leaks."""
        self.leaks += int((~self._bought[indices]).sum())
        return self._labels[indices]

    def leak(self, labels: np.ndarray) -> np.ndarray:
        """Labels of another split, used to train or choose by: every one of them is a leak."""
        self.leaks += len(labels)
        return labels
