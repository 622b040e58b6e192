"""Quality of features during pretraining, for monitoring only."""

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
    """Compute the rank of the features of train images and, with labels, their k-NN accuracy.

    Parameters
    ----------
    images : ndarray
        (n, h, w, c) uint8, train images.
    labeled : (train labels, test images, test labels), optional
        (n,) int64, -1 for none, (m, h, w, c) uint8 and (m,) int64.

    Returns
    -------
    dict
        rank and, with labels, knn_accuracy; only rank, NaN, if features of train images are not finite.
    """

    def embed(images: np.ndarray) -> np.ndarray:
        return np.concatenate(list(features(pretext, images, layer="backbone", batch=256, device=device)))

    train = embed(images)
    if not np.isfinite(train).all():
        return {"rank": np.nan}
    quality: dict[str, Any] = {}
    if labeled is not None:
        labels, test_images, test_labels = labeled
        has_label = labels >= 0
        quality["knn_accuracy"] = knn_accuracy(train[has_label], labels[has_label], embed(test_images), test_labels)
    return quality | {"rank": feature_rank(train, np.arange(len(train)))[0]}
