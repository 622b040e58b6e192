"""Label savings: labels needed to reach the final result of random first pools."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from initpools_cli.core.seeds import generator
from initpools_cli.core.types import DataFrame
from initpools_cli.stats.learning_curves import CURVE, complete_cells
from initpools_cli.stats.metric_names import PRIMARY, chosen_metric

# Bootstrap samples of seeds for an interval.
DRAWS = 2_000


def labels_to_reach(labeled: ArrayLike, values: ArrayLike, target: ArrayLike) -> NDArray[np.float64]:
    """Compute the number of labels at which learning curves first reach a target, by linear interpolation.

    Parameters
    ----------
    labeled : array_like, shape (r,)
        Number of labels, strictly ascending.
    values : array_like, shape (b, r)
        The metric at each, one curve per row.
    target : array_like, shape (b,)
        In the metric's unit.

    Returns
    -------
    ndarray
        (b,) float64, in labels; infinite where a curve never reaches its target.
    """
    x, y = np.asarray(labeled, dtype=np.float64), np.asarray(values, dtype=np.float64)
    goal = np.asarray(target, dtype=np.float64)
    # Tolerance, so that rounding does not put a curve below its own value.
    above = y >= goal[:, None] - 1e-12
    at, rows = above.argmax(1), np.arange(len(y))
    before = np.maximum(at - 1, 0)
    rise = y[rows, at] - y[rows, before]
    share = np.divide(goal - y[rows, before], rise, out=np.ones(len(y)), where=rise > 0)
    labels = x[before] + np.clip(share, 0, 1) * (x[at] - x[before])
    return np.where(above.any(1), labels, np.inf)


def savings(
    rounds: DataFrame, against: str = "random", metric: str = PRIMARY, rng: np.random.Generator | None = None
) -> DataFrame:
    """Compute the labels at which each mean curve reaches the last round's value of `against`.

    Parameters
    ----------
    rounds : DataFrame
        Rows of ``rounds.csv``; seeds at which either cell failed are left out.
    against : str
        The first pool that sets the target, with the same query, learner and encoder.
    rng : Generator, optional
        Draws bootstrap samples; default: the same for every call.

    Returns
    -------
    DataFrame
        init, query, learner, encoder; seeds; target (in the metric's unit); labels, low and high: where the mean curve
        reaches the target, with a 95 % percentile interval over 2,000 bootstrap samples of the seeds, which vary
        target and curve together; infinite if it never does. `of` is the labels of `against` at its last round, and
        `never` the share of samples that do not reach the target. One seed gives no interval; with few seeds the
        interval is too narrow.
    """
    import pandas as pd

    metric = chosen_metric(metric, rounds.columns)
    rows = complete_cells(rounds)
    rows = rows[rows["query"] != ""]
    draw = generator(0, "savings") if rng is None else rng
    curves = {
        cast("tuple[str, ...]", name): cells.pivot(index="seed", columns="labeled", values=metric)
        for name, cells in rows.groupby(CURVE, sort=False)
    }
    results = []
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
            sample = draw.integers(0, len(seeds), (DRAWS, len(seeds)))
            sample_labels = labels_to_reach(labeled, own[sample].mean(1), goal[sample].mean(1))
            low, high = (float(end) for end in np.quantile(sample_labels, [0.025, 0.975], method="inverted_cdf"))
            never = float(np.isinf(sample_labels).mean())
        results.append((*name, len(seeds), float(goal.mean()), labels, low, high, int(labeled[-1]), never))
    return pd.DataFrame(results, columns=[*CURVE, "seeds", "target", "labels", "low", "high", "of", "never"])
