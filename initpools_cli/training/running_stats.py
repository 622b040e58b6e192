"""Mean and deviation of what each image is worth from epoch to epoch, kept as it arrives."""

from __future__ import annotations

import numpy as np
import torch


class RunningStats:
    """Running count, mean and sum of squared deviations of one number per image (Welford 1962).

    Parameters
    ----------
    n : int
        Number of images.
    """

    def __init__(self, n: int) -> None:
        self.state = torch.zeros(3, n, dtype=torch.float64)

    def add(self, ids: torch.Tensor, values: torch.Tensor) -> None:
        """One more value of each of the images `ids`, (b,) int64, all different."""
        at, new = ids.cpu(), values.detach().double().cpu()
        count, mean, squares = self.state
        count[at] += 1
        off = new - mean[at]
        mean[at] += off / count[at]
        squares[at] += off * (new - mean[at])

    @property
    def seen(self) -> bool:
        """Whether anything was added."""
        return bool(self.state[0].any())

    def table(self) -> np.ndarray:
        """(n, 3) float64: how many values, their mean, and their population standard deviation; 0 where none."""
        count, mean, squares = self.state.numpy()
        return np.stack([count, mean, np.sqrt(squares / np.maximum(count, 1))], axis=1)
