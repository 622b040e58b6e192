"""Values for images without training epochs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def fill_unseen(values: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Replace `values` (n,) where the count (n,) is 0 by the median of the others, so that they rank in the middle.

    An image has no epochs if it is in the dropped incomplete batch in every epoch.
    """
    has_epochs = counts > 0
    if not has_epochs.any():
        return np.zeros(len(values))
    return np.where(has_epochs, values, np.median(values[has_epochs]))
