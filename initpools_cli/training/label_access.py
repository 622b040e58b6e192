"""The one door to labels: what has been bought may be read, any other read is counted."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from initpools_cli.stats.metrics import classification_metrics, recalls


class LabelAccess:
    """The labels of a data set, those of train behind a price.

    Parameters
    ----------
    labels : mapping of str to (n,) int64
        By split: "train", "test" and, where there is one, "val".

    Attributes
    ----------
    leaks : int
        How many labels were read without having been bought.
    """

    def __init__(self, labels: Mapping[str, np.ndarray]) -> None:
        self._labels = labels
        self._bought = np.zeros(len(labels["train"]), dtype=bool)
        self.leaks = 0

    def buy(self, indices: np.ndarray) -> None:
        """Pay for the labels of these train images."""
        self._bought[indices] = True

    def read(self, indices: np.ndarray) -> np.ndarray:
        """The labels of these train images; those not bought are counted as leaks."""
        self.leaks += int((~self._bought[indices]).sum())
        return self._labels["train"][indices]

    def known(self) -> np.ndarray:
        """(n,) int64, the labels that were bought, -1 elsewhere."""
        return np.where(self._bought, self._labels["train"], -1)

    def leak(self, split: str) -> np.ndarray:
        """All labels of another split, to train or choose by: every one of them is a leak."""
        self.leaks += len(self._labels[split])
        return self._labels[split]

    def measure(self, probs: np.ndarray) -> tuple[dict[str, float], np.ndarray]:
        """How good predictions (n, c) of the test images are: metrics, and the recall of each class.

        The labels themselves stay behind the door, so that nothing can be trained or chosen by them.
        """
        labels = self._labels["test"]
        return classification_metrics(probs, labels), recalls(probs, labels, probs.shape[1])
