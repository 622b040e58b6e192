"""A k-NN accuracy on a few images while a pretext trains: to watch, never to choose by."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from initpools_cli.pretext.base import Pretext
from initpools_cli.training.infer import features


def knn_accuracy(
    pretext: Pretext,
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    *,
    device: torch.device,
    k: int = 20,
) -> dict[str, Any]:
    """knn_accuracy: the share of test images whose class wins among the `k` nearest train images by cosine.

    Parameters
    ----------
    train, test : (images, labels)
        (n, h, w, c) uint8 and (n,) int64.
    """
    inside, outside = (
        F.normalize(
            torch.from_numpy(
                np.concatenate(list(features(pretext, images, layer="backbone", batch=256, device=device)))
            ),
            dim=1,
        )
        for images, _ in (train, test)
    )
    similar = (outside @ inside.T).topk(min(k, len(inside)), dim=1)
    classes = torch.from_numpy(train[1])[similar.indices]
    votes = torch.zeros(len(outside), int(train[1].max()) + 1).scatter_add_(1, classes, similar.values.exp())
    return {"knn_accuracy": float((votes.argmax(1).numpy() == test[1]).mean())}
