"""Number of seeds needed by the sign-flip test."""

from __future__ import annotations

import math

import numpy as np

# Upper limit of the search.
MOST = 1_000_000


def smallest_p(pairs: int) -> float:
    """Compute the smallest p-value that the two-sided sign-flip test can give for `pairs` pairs."""
    return 2.0 ** (1 - pairs) if pairs else 1.0


def seeds_to_reject(family: int, alpha: float = 0.05) -> int:
    """Compute the smallest number of seeds with which the sign-flip test can reject after Holm's correction.

    Parameters
    ----------
    family : int
        Number of comparisons in the correction.
    alpha : float
        Family-wise error rate.
    """
    return next(pairs for pairs in range(1, 2000) if smallest_p(pairs) * family <= alpha)


def seeds_to_detect(
    deviation: float, gain: float = 0.01, family: int = 1, alpha: float = 0.05, power: float = 0.8
) -> int:
    """Compute the number of seeds needed to detect a mean difference.

    Uses the power of the paired t-test at level alpha / family, which is close to that of the sign-flip test unless
    the differences have heavy tails; at least the number of seeds that the sign-flip test needs to reject at all.

    Parameters
    ----------
    deviation : float
        Standard deviation of the paired differences, in the unit of `gain`.
    gain : float
        The true mean difference; 0.01 is one point of accuracy.
    family : int
        Number of comparisons in the correction.
    alpha, power : float
        Family-wise error rate, and probability of detecting the gain.

    Returns
    -------
    int
        At most 1,000,000.
    """
    from scipy.special import ncfdtr, stdtrit

    def power_of(pairs: int) -> float:
        # The square of a noncentral t is a noncentral F with one degree of freedom.
        threshold = float(stdtrit(pairs - 1, 1 - alpha / family / 2)) ** 2
        return 1 - float(ncfdtr(1, pairs - 1, pairs * (gain / deviation) ** 2, threshold))

    least = max(2, seeds_to_reject(family, alpha))
    if deviation <= 0 or not math.isfinite(deviation):
        return least
    # Doubling brackets the answer; bisection finds it.
    low, high = least, least
    while high < MOST and power_of(high) < power:
        low, high = high, min(2 * high, MOST)
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (low, middle) if power_of(middle) >= power else (middle, high)
    return int(np.clip(high, least, MOST))
