"""How many seeds a question takes."""

from __future__ import annotations

import math

import numpy as np

#: More seeds than anybody runs.
MOST = 1_000_000


def smallest_p(pairs: int) -> float:
    """The smallest p-value that the two-sided sign-flip test of so many pairs can give."""
    return 2.0 ** (1 - pairs) if pairs else 1.0


def seeds_to_reject(family: int, alpha: float = 0.05) -> int:
    """The smallest number of seeds with which the sign-flip test could reject at all.

    Parameters
    ----------
    family : int
        Comparisons that the correction is over; the first step of Holm's multiplies by it.
    """
    return next(pairs for pairs in range(1, 2000) if smallest_p(pairs) * family <= alpha)


def seeds_to_see(deviation: float, gain: float = 0.01, family: int = 1, alpha: float = 0.05, power: float = 0.8) -> int:
    """Seeds needed to see a mean difference.

    The power of the paired t-test at level alpha / family, which the sign-flip test's is near to where the differences
    are not wild, and never fewer than the sign-flip test needs to reject at all.

    Parameters
    ----------
    deviation : float
        Standard deviation of the paired differences, in the unit of `gain`.
    gain : float
        The true mean difference; 0.01 is a point of accuracy.
    family : int
        Comparisons that the correction is over.
    alpha, power : float
        Chance of a false alarm in the family, and of seeing the gain.

    Returns
    -------
    int
        At most 1,000,000.
    """
    from scipy.special import ncfdtr, stdtrit

    def seen(pairs: int) -> float:
        # The square of a noncentral t is a noncentral F with one degree of freedom.
        threshold = float(stdtrit(pairs - 1, 1 - alpha / family / 2)) ** 2
        return 1 - float(ncfdtr(1, pairs - 1, pairs * (gain / deviation) ** 2, threshold))

    least = max(2, seeds_to_reject(family, alpha))
    if deviation <= 0 or not math.isfinite(deviation):
        return least
    # Brackets the answer: the normal approximation is never off by as much as a factor of two beyond a few seeds.
    low, high = least, least
    while high < MOST and seen(high) < power:
        low, high = high, min(2 * high, MOST)
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (low, middle) if seen(middle) >= power else (middle, high)
    return int(np.clip(high, least, MOST))
