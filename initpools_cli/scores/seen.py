"""Images that training never saw."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def fill_unseen(values: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """`values` (n,) with the median of the others where the count (n,) is 0, which puts those images at neither end.

    An image can be in the incomplete batch that training leaves out, epoch after epoch.
    """
    seen = counts > 0
    if not seen.any():
        return np.zeros(len(values))
    return np.where(seen, values, np.median(values[seen]))
