"""How a cost grows with the number of images."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

#: The largest sizes that an exponent is fitted to, and the fewest: small ones are mostly overhead.
LAST, FEWEST = 4, 3


def exponent(n: ArrayLike, cost: ArrayLike, floor: float) -> float:
    """The power of n that the cost grows with: the slope of a line through its largest sizes, both in logarithms.

    Parameters
    ----------
    n, cost : array_like, shape (m,)
        Ascending sizes and what each cost.
    floor : float
        Costs below it are noise and left out.

    Returns
    -------
    float
        NaN where fewer than three are left.
    """
    sizes, costs = np.asarray(n, dtype=np.float64), np.asarray(cost, dtype=np.float64)
    clear = np.flatnonzero(costs >= floor)[-LAST:]
    if len(clear) < FEWEST:
        return math.nan
    return float(np.polyfit(np.log(sizes[clear]), np.log(costs[clear]), 1)[0])
