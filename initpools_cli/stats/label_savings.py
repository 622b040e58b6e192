"""How many labels it takes to be as good as random is at its end."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from initpools_cli.core.seeds import generator
from initpools_cli.core.types import DataFrame
from initpools_cli.stats.learning_curves import CURVE, whole_cells

#: Draws of seeds, with replacement, for an interval.
DRAWS = 2_000


def labels_to_reach(labeled: ArrayLike, values: ArrayLike, target: ArrayLike) -> NDArray[np.float64]:
    """The number of labels at which learning curves first reach a target, between rounds by a straight line.

    Parameters
    ----------
    labeled : array_like, shape (r,)
        Labels bought, strictly ascending.
    values : array_like, shape (b, r)
        The metric at each, a curve a row.
    target : array_like, shape (b,)
        In the metric's unit.

    Returns
    -------
    ndarray
        (b,) float64, in labels; infinite where a curve never gets there.
    """
    x, y = np.asarray(labeled, dtype=np.float64), np.asarray(values, dtype=np.float64)
    goal = np.asarray(target, dtype=np.float64)
    # A curve that is its own target is not below it for rounding.
    above = y >= goal[:, None] - 1e-12
    at, rows = above.argmax(1), np.arange(len(y))
    before = np.maximum(at - 1, 0)
    rise = y[rows, at] - y[rows, before]
    share = np.divide(goal - y[rows, before], rise, out=np.ones(len(y)), where=rise > 0)
    reached = x[before] + np.clip(share, 0, 1) * (x[at] - x[before])
    return np.where(above.any(1), reached, np.inf)


def savings(
    rounds: DataFrame, against: str = "random", metric: str = "accuracy", rng: np.random.Generator | None = None
) -> DataFrame:
    """Labels at which each mean curve reaches what `against` reaches at its last round.

    Parameters
    ----------
    rounds : DataFrame
        Rows of ``rounds.csv``; only seeds at which neither cell failed.
    against : str
        The first pool that sets the target, with the same query, learner and encoder.
    rng : Generator, optional
        Of the intervals; default: the same for every call.

    Returns
    -------
    DataFrame
        init, query, learner, encoder; seeds; target (the metric's unit); labels, low and high: where the mean curve
        gets there, and a 95 % percentile interval over 2,000 draws of the seeds, which leave the target no more fixed
        than the curve; infinite where it never does. `of` is what `against` needs, and `never` the share of the
        draws that do not get there. One seed gives no interval, and few give one that is too narrow.
    """
    import pandas as pd

    rows = whole_cells(rounds)
    rows = rows[rows["query"] != ""]
    draw = generator(0, "savings") if rng is None else rng
    curves = {
        cast("tuple[str, ...]", name): cells.pivot(index="seed", columns="labeled", values=metric)
        for name, cells in rows.groupby(CURVE, sort=False)
    }
    found = []
    for name, curve in curves.items():
        other = curves.get((against, *name[1:]))
        if other is None or name[0] == against:
            continue
        seeds = curve.index.intersection(other.index)
        if not len(seeds):
            continue
        labeled = curve.columns.to_numpy(np.float64)
        own, goal = curve.loc[seeds].to_numpy(np.float64), other.loc[seeds].to_numpy(np.float64)[:, -1]
        labels = float(labels_to_reach(labeled, own.mean(0)[None], [goal.mean()])[0])
        low = high = never = math.nan
        if len(seeds) > 1:
            drawn = draw.integers(0, len(seeds), (DRAWS, len(seeds)))
            reached = labels_to_reach(labeled, own[drawn].mean(1), goal[drawn].mean(1))
            low, high = (float(end) for end in np.quantile(reached, [0.025, 0.975], method="inverted_cdf"))
            never = float(np.isinf(reached).mean())
        found.append((*name, len(seeds), float(goal.mean()), labels, low, high, int(labeled[-1]), never))
    return pd.DataFrame(found, columns=[*CURVE, "seeds", "target", "labels", "low", "high", "of", "never"])
