"""An order from elsewhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.errors import UserError
from initpools_cli.strategies.registry import strategies
from initpools_cli.strategies.selection import Selection


@strategies.register(nested=True, cost="n")
def file(order: NDArray[np.int64], labeled: NDArray[np.int64], budget: int) -> Selection:
    """Take the first images of a given order that have no label.

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
        The ranking names fewer than `budget` unlabeled images.
    """
    free = order[~np.isin(order, labeled)]
    if len(free) < budget:
        fact = f"The ranking names {len(free)} images that may be taken here, and {budget} are wanted."
        fewer = "Ask for fewer images, or bring" if len(free) else "Bring"
        raise UserError(fact, f"{fewer} a longer ranking.")
    return Selection(free[:budget])
