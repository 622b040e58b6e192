"""How features come along while a pretext trains: to watch, never to choose by."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from initpools_cli.pretext.base import Pretext
from initpools_cli.training.feature_quality import feature_rank, knn_accuracy
from initpools_cli.training.infer import features


def measure(
    pretext: Pretext,
    images: np.ndarray,
    labeled: tuple[np.ndarray, np.ndarray, np.ndarray] | None,
    *,
    device: torch.device,
) -> dict[str, Any]:
    """The rank of the features of some train images and, where there are labels, their k-NN accuracy.

    Parameters
    ----------
    images : ndarray
        (n, h, w, c) uint8, of train.
    labeled : (train labels, test images, test labels), optional
        (n,) int64, -1 for none, (m, h, w, c) uint8 and (m,) int64.

    Returns
    -------
    dict
        knn_accuracy where there are labels, and rank; rank alone, NaN, where features of train are not finite.
    """

    def embedded(shown: np.ndarray) -> np.ndarray:
        return np.concatenate(list(features(pretext, shown, layer="backbone", batch=256, device=device)))

    inside = embedded(images)
    if not np.isfinite(inside).all():
        return {"rank": np.nan}
    found: dict[str, Any] = {}
    if labeled is not None:
        labels, test_images, test_labels = labeled
        known = labels >= 0
        found["knn_accuracy"] = knn_accuracy(inside[known], labels[known], embedded(test_images), test_labels)
    return found | {"rank": feature_rank(inside, np.arange(len(inside)))[0]}
