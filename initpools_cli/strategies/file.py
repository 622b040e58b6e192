"""Strategy `file`: a ranking from a file."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.errors import UserError
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection


@strategies.register(nested=True, cost="n")
def file(order: NDArray[np.int64], labeled: NDArray[np.int64], budget: int) -> Selection:
    """Take the first unlabeled images of a ranking.

    Parameters
    ----------
    order : (m,) int64
        Images, best first.
    labeled : (l,) int64
    budget : int

    Returns
    -------
    Selection

    Raises
    ------
    UserError
        If the ranking has fewer than `budget` unlabeled images.
    """
    free = order[~np.isin(order, labeled)]
    if len(free) < budget:
        fact = f"The ranking has {len(free)} unlabeled images, fewer than budget={budget}."
        raise UserError(fact, f"Use {'a smaller budget, or ' if len(free) else ''}a longer ranking.", len(free))
    return Selection(free[:budget])
