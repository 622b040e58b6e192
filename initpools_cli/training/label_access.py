"""Label access; reads of labels that were not bought are counted as leaks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from initpools_cli.stats.metrics import classification_metrics, recalls
from initpools_cli.stats.multilabel_metrics import average_precisions, label_areas, label_recalls, multilabel_metrics


class LabelAccess:
    """Labels of a data set; train labels must be bought before they are read.

    Parameters
    ----------
    labels : mapping of str to (n,) int64, or (n, c) int8
        By split: "train", "test" and, if there is one, "val".

    Attributes
    ----------
    leaks : int
        Number of labels read without having been bought.
    """

    def __init__(self, labels: Mapping[str, np.ndarray]) -> None:
        self._labels = labels
        self._bought = np.zeros(len(labels["train"]), dtype=bool)
        self.leaks = 0

    def buy(self, indices: np.ndarray) -> None:
        """Buy the labels of train images."""
        self._bought[indices] = True

    def read(self, indices: np.ndarray) -> np.ndarray:
        """Return the labels of train images; labels not bought are counted as leaks."""
        self.leaks += int((~self._bought[indices]).sum())
        return self._labels["train"][indices]

    def known(self) -> np.ndarray:
        """Return all train labels, with -1 for labels not bought."""
        labels = self._labels["train"]
        return np.where(self._bought if labels.ndim == 1 else self._bought[:, None], labels, -1)

    def leak(self, split: str) -> np.ndarray:
        """Return all labels of another split for training or selection; each is counted as a leak."""
        self.leaks += len(self._labels[split])
        return self._labels[split]

    def measure(self, probs: np.ndarray) -> tuple[dict[str, float], np.ndarray]:
        """Evaluate predictions (n, c) of the test images: metrics, and the recall of each class.

        With several labels per image (3, c): recall, average precision and area under the ROC curve of each class. The
        test labels themselves are not returned, so that nothing can be trained or selected by them.
        """
        labels = self._labels["test"]
        if labels.ndim == 2:
            by_class = [measure(probs, labels) for measure in (label_recalls, average_precisions, label_areas)]
            return multilabel_metrics(probs, labels), np.stack(by_class)
        return classification_metrics(probs, labels), recalls(probs, labels, probs.shape[1])

    def correct(self, probs: np.ndarray) -> np.ndarray:
        """Return whether each prediction (n, c) of the test images is right, as bits: (ceil(n / 8),) uint8."""
        return np.packbits(probs.argmax(1) == self._labels["test"])

    def right_by(self, probs: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """Count the correct predictions (n, c) of the test images in each column of `group_columns`, (k,) int32."""
        labels = self._labels["test"]
        column, _ = group_columns(groups, labels)
        right: np.ndarray = np.bincount(column, weights=probs.argmax(1) == labels)
        return right.astype(np.int32)


def group_columns(groups: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number the pairs of group and class that occur.

    Parameters
    ----------
    groups, labels : (n,) int64

    Returns
    -------
    column : (n,) int64
        The pair of each image, ascending by group and class.
    pairs : (k, 2) int64
        Group and class of each pair.
    """
    pairs, column = np.unique(np.column_stack([groups, labels]), axis=0, return_inverse=True)
    return column.reshape(-1), pairs
