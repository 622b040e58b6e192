"""Batched L-BFGS: minimize many smooth functions of the same shape at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
#: Maps points (s, p, q) to s values and their gradients (s, p, q).
Objective = Callable[[Array], tuple[Array, Array]]

MEMORY = 8
LONGEST = 500
#: Share of the decrease predicted by the slope that a step must reach (Armijo).
SHARE = 1e-4
SHORTEST = 1e-10


def minimize(objective: Objective, start: Array, tolerance: float) -> Array:
    """Minimize s independent functions by L-BFGS (Liu & Nocedal 1989) with backtracking.

    The result for one function does not depend on the others: it is no longer changed once it has converged, and
    products are computed one by one.

    Parameters
    ----------
    objective : callable
        Values and gradients of all s functions, each smooth and convex.
    start : (s, p, q) float64
    tolerance : float
        A function has converged when no entry of its gradient is larger.

    Returns
    -------
    (s, p, q) float64

    Raises
    ------
    FloatingPointError
        If a value is not finite.
    """
    point, (value, gradient) = start, objective(start)
    past: deque[tuple[Array, Array, Array]] = deque(maxlen=MEMORY)
    for _ in range(LONGEST):
        if not np.isfinite(value).all():
            raise FloatingPointError("the loss of the linear learner is not finite")
        moving = np.abs(gradient).max(axis=(1, 2)) > tolerance
        if not moving.any():
            break
        direction = _direction(gradient, past) * moving[:, None, None]
        slope = _dot(direction, gradient)
        length = np.ones(len(start))
        while True:
            trial = point + length[:, None, None] * direction
            new_value, new_gradient = objective(trial)
            enough = value + SHARE * length * slope + 1e-15 * np.abs(value)
            # Not "new_value > enough": NaN means that the step was too long.
            short = moving & ~(new_value <= enough) & (length > SHORTEST)
            if not short.any():
                break
            length[short] *= 0.5
        step, turn = trial - point, new_gradient - gradient
        along = _dot(step, turn)
        past.append((step, turn, np.divide(1.0, along, out=np.zeros_like(along), where=along > 0)))
        point, value, gradient = trial, new_value, new_gradient
    return point


def _direction(gradient: Array, past: deque[tuple[Array, Array, Array]]) -> Array:
    """Compute minus the inverse Hessian, approximated from past steps, times the gradient."""
    product, shares = gradient.copy(), []
    for step, turn, inverse in reversed(past):
        share = inverse * _dot(step, product)
        shares.append(share)
        product -= share[:, None, None] * turn
    if past:
        step, turn, inverse = past[-1]
        size = _dot(turn, turn)
        scale = np.divide(_dot(step, turn), size, out=np.ones_like(size), where=(size > 0) & (inverse > 0))
        product *= scale[:, None, None]
    for (step, turn, inverse), share in zip(past, reversed(shares), strict=True):
        product += (share - inverse * _dot(turn, product))[:, None, None] * step
    return -product


def _dot(a: Array, b: Array) -> Array:
    return np.einsum("spq,spq->s", a, b)
