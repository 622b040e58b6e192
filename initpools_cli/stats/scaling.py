"""Growth of runtime or memory with the number of images."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

# The exponent is fitted to this many of the largest sizes (small ones are mostly overhead), and to no fewer than this.
LAST, FEWEST = 4, 3


def exponent(n: ArrayLike, cost: ArrayLike, floor: float) -> float:
    """Estimate the exponent b of cost ~ n**b by a log-log fit to the largest sizes.

    Parameters
    ----------
    n, cost : array_like, shape (m,)
        Ascending sizes, and the cost of each.
    floor : float
        Costs below it are noise and left out.

    Returns
    -------
    float
        NaN if fewer than three sizes are left.
    """
    sizes, costs = np.asarray(n, dtype=np.float64), np.asarray(cost, dtype=np.float64)
    clear = np.flatnonzero(costs >= floor)[-LAST:]
    if len(clear) < FEWEST:
        return math.nan
    return float(np.polyfit(np.log(sizes[clear]), np.log(costs[clear]), 1)[0])
