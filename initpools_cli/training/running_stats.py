"""Running mean and standard deviation per image."""

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
        """Add one value for each of the images `ids`, (b,) int64, all distinct."""
        at, new = ids.cpu(), values.detach().double().cpu()
        count, mean, squares = self.state
        count[at] += 1
        off = new - mean[at]
        mean[at] += off / count[at]
        squares[at] += off * (new - mean[at])

    @property
    def nonempty(self) -> bool:
        """Whether any value was added."""
        return bool(self.state[0].any())

    def table(self) -> np.ndarray:
        """Return count, mean and population standard deviation per image, (n, 3) float64; 0 without values."""
        count, mean, squares = self.state.numpy()
        return np.stack([count, mean, np.sqrt(squares / np.maximum(count, 1))], axis=1)
