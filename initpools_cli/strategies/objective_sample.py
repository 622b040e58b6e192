"""A sample of the rows, on which the objective of a strategy is measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ObjectiveSample:
    """Rows that an objective is a sum over, and rows that may be picked.

    Attributes
    ----------
    weights : (n,) float64
        Number of images that each row stands for; 0 for rows that do not count.
    candidates : (n,) bool
    """

    weights: NDArray[np.float64]
    candidates: NDArray[np.bool_]

    @property
    def images(self) -> float:
        """Number of images that the rows stand for."""
        return float(self.weights.sum())


def unpack(
    sample: ObjectiveSample | None,
) -> tuple[NDArray[np.float64] | None, NDArray[np.bool_] | None, NDArray[np.int64] | None]:
    """Return the weights and candidates, and the rows that count if these are few; None for each if all rows do."""
    if sample is None:
        return None, None, None
    support = np.flatnonzero(sample.weights)
    return sample.weights, sample.candidates, support if 2 * len(support) < len(sample.weights) else None
