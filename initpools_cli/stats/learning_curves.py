"""Learning curves from the rows of ``rounds.csv``: means over seeds, and areas."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from initpools_cli.core.types import DataFrame
from initpools_cli.stats.group_variance import METRICS, RightByGroup, over_seeds_and_groups
from initpools_cli.stats.intervals import MeanInterval, mean_interval
from initpools_cli.stats.metric_names import PRIMARY, chosen_metric

CURVE = ["init", "query", "learner", "encoder"]


class CurvePoint(NamedTuple):
    """Row of `summarize`: labeled in images; mean, low and high in the metric's unit."""

    init: str
    query: str
    learner: str
    encoder: str
    round: int
    labeled: int
    n_seeds: int
    n_failed: int
    mean: float
    low: float
    high: float


def with_shared_start(rounds: DataFrame) -> DataFrame:
    """Repeat the rows of round 0 under every query, so that every curve starts at round 0.

    Round 0 evaluates the first pool before any query, so its rows have no query; here each is repeated for every query
    of its (init, learner, encoder). Without any, the query stays empty.

    Parameters
    ----------
    rounds : DataFrame
        Rows of ``rounds.csv``.

    Returns
    -------
    DataFrame
        The same columns; an empty query or encoder is ``""``, not missing.
    """
    import pandas as pd

    named = rounds.copy()
    for column in CURVE:
        named[column] = named[column].astype(object).where(named[column].notna(), "").astype(str)
    start = named["query"] == ""
    queries = named.loc[~start, CURVE].drop_duplicates()
    first = named[start].drop(columns="query").merge(queries, on=["init", "learner", "encoder"], how="left")
    first["query"] = first["query"].astype(object).where(first["query"].notna(), "")
    return pd.concat([first[named.columns], named[~start]], ignore_index=True)


def summarize(
    rounds: DataFrame, metric: str = PRIMARY, level: float = 0.95, groups: RightByGroup | None = None
) -> DataFrame:
    """Compute mean and confidence interval over seeds, and groups of test images, at every point of every curve.

    Parameters
    ----------
    rounds : DataFrame
        Rows of ``rounds.csv``; a row whose status is not "ok" counts as failed and is left out of means.
    metric : str
        The column to average, or "primary".
    level : float
        Confidence level.
    groups : RightByGroup, optional
        Correct predictions by group, for `rounds`; not used for metrics that are no means over images.

    Returns
    -------
    DataFrame
        One row per init, query, learner, encoder, round and labeled (images), in the order of the curves in `rounds`:
        `n_seeds` (seeds in the mean), `n_failed` (seeds failed by that round), `mean`, `low` and `high` in the
        metric's unit. A point at which every seed failed has no row, see `failures`.
    """
    import pandas as pd

    metric = chosen_metric(metric, rounds.columns)
    rows = with_shared_start(rounds.assign(row=np.arange(len(rounds))))
    ok = rows["status"] == "ok"
    points = []
    for group, curve in rows.groupby(CURVE, sort=False):
        init, query, learner, encoder = cast("tuple[str, str, str, str]", group)
        good = curve[ok[curve.index]]
        bad = curve[~ok[curve.index]]
        since = bad["round"].astype(float).fillna(0).groupby(bad["seed"]).min()
        for key, cells in good.groupby(["round", "labeled"], sort=True):
            at, labeled = cast("tuple[float, float]", key)
            values = cells[metric].to_numpy(np.float64)
            interval = mean_interval(values, level)
            if groups is not None and metric in METRICS:
                interval = _over_groups(interval.mean, values, groups, cells["row"].to_numpy(), metric, level)
            n_seeds, n_failed = int((~np.isnan(values)).sum()), int((since <= at).sum())
            counts = (int(at), int(labeled), n_seeds, n_failed)
            points.append(CurvePoint(init, query, learner, encoder, *counts, *interval))
    return pd.DataFrame(points, columns=list(CurvePoint._fields))


def _over_groups(
    mean: float, values: NDArray[np.float64], groups: RightByGroup, rows: NDArray[np.int64], metric: str, level: float
) -> MeanInterval:
    """Return the mean with its interval over seeds and groups; none for fewer than two of either."""
    seeds = len(values)
    by_seeds = float(values.var(ddof=1)) / seeds if seeds > 1 else float("nan")
    by_groups = groups.variance(groups.right[rows].mean(axis=0), metric)
    wider = over_seeds_and_groups(mean, by_seeds, seeds, by_groups, groups.count, level)
    return MeanInterval(mean, wider.low, wider.high)


def points_of(summary: DataFrame) -> list[CurvePoint]:
    """Return the rows of a summary as a list."""
    return [CurvePoint(*row) for row in summary[list(CurvePoint._fields)].itertuples(index=False, name=None)]


def failures(rounds: DataFrame) -> DataFrame:
    """Return the distinct cells (init, query, learner, encoder, seed) with at least one row that is not "ok"."""
    rows = with_shared_start(rounds)
    return rows.loc[rows["status"] != "ok", [*CURVE, "seed"]].drop_duplicates(ignore_index=True)


def complete_cells(rounds: DataFrame) -> DataFrame:
    """Return the rows of `with_shared_start` of cells with every round of the sweep, all of them "ok".

    Areas and crossings of cells with missing rounds would refer to other numbers of labels.
    """
    rows = with_shared_start(rounds)
    cells = rows.assign(good=rows["status"] == "ok").groupby([*CURVE, "seed"], sort=False)
    whole = cells["good"].transform("all") & (cells["round"].transform("nunique") == rows["round"].nunique())
    return rows[whole]


def area_under_curve(labeled: ArrayLike, values: ArrayLike) -> float:
    """Compute the mean height of a learning curve over its range of labels, by the trapezoidal rule.

    Parameters
    ----------
    labeled : array_like, shape (r,)
        Number of labels, strictly ascending.
    values : array_like, shape (r,)
        The metric at each.

    Returns
    -------
    float
        In the metric's unit; NaN for fewer than two points or a missing value.
    """
    x, y = np.asarray(labeled, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if x.size < 2:
        return float("nan")
    return float(np.trapezoid(y, x) / (x[-1] - x[0]))


def areas(rounds: DataFrame, metric: str = PRIMARY) -> DataFrame:
    """Compute the area under the learning curve of every cell.

    Parameters
    ----------
    rounds : DataFrame
        Rows of ``rounds.csv``.
    metric : str
        The column to integrate, or "primary".

    Returns
    -------
    DataFrame
        init, query, learner, encoder, seed, area: one row per cell; NaN if the cell failed or has a single round.
    """
    import pandas as pd

    metric = chosen_metric(metric, rounds.columns)
    rows = with_shared_start(rounds)
    labeled, values = (rows[column].to_numpy(np.float64) for column in ("labeled", metric))
    ok = (rows["status"] == "ok").to_numpy()
    cells = []
    for name, own in _cells(rows):
        ordered = own[np.argsort(labeled[own], kind="stable")]
        cells.append((*name, area_under_curve(labeled[ordered], values[ordered]) if ok[own].all() else float("nan")))
    return pd.DataFrame(cells, columns=[*CURVE, "seed", "area"])


def _cells(rows: DataFrame) -> Iterator[tuple[tuple[Any, ...], NDArray[np.int64]]]:
    """Yield the name (init, query, learner, encoder, seed) of each cell, and the places of its rows in their order."""
    columns = [*CURVE, "seed"]
    number = rows.groupby(columns, sort=False).ngroup().to_numpy()
    places = np.split(np.argsort(number, kind="stable"), np.cumsum(np.bincount(number)))[:-1]
    return zip(rows[columns].drop_duplicates().itertuples(index=False, name=None), places, strict=True)


class WeightedRows(NamedTuple):
    """Rows of ``rounds.csv`` and the weights with which a measure averages them.

    Attributes
    ----------
    rows : (r,) int64
    weights : (r,) float64
        1 for a single row; for the area those of the trapezoidal rule.
    """

    rows: NDArray[np.int64]
    weights: NDArray[np.float64]

    def average(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Average values (rows, k) of all rows of ``rounds.csv`` over these rows: (k,) float64."""
        averaged: NDArray[np.float64] = self.weights @ values[self.rows]
        return averaged


def rows_by_cell(rounds: DataFrame, measure: str) -> dict[tuple[str, ...], dict[int, WeightedRows]]:
    """Return the rows of ``rounds.csv`` behind the value of each cell by one measure, and their weights.

    Parameters
    ----------
    rounds : DataFrame
        Rows of ``rounds.csv``.
    measure : str
        "first pool", "area" or "last round", as in `stats.verdicts`.

    Returns
    -------
    dict of (init, query, learner, encoder) to dict of int to WeightedRows
        By curve and seed; cells without a value are left out.
    """
    numbered = rounds.assign(row=np.arange(len(rounds)))
    if measure == "area":
        rows = complete_cells(numbered).sort_values("labeled", kind="stable")
    else:
        rows = with_shared_start(numbered)
        rows = rows[rows["status"] == "ok"]
        if measure == "first pool":
            rows = rows[rows["round"] == 0].assign(query="").drop_duplicates([*CURVE, "seed"])
        else:
            rows = rows[(rows["round"] == rounds["round"].max()) & (rows["query"] != "")]
    labeled, number = rows["labeled"].to_numpy(np.float64), rows["row"].to_numpy()
    rows_by_seed: dict[tuple[str, ...], dict[int, WeightedRows]] = {}
    for (*curve, seed), own in _cells(rows):
        weights = np.ones(1)
        if measure == "area":
            x = labeled[own]
            if len(x) < 2:
                continue
            steps = np.diff(x)
            weights = (np.append(steps, 0) + np.append(0, steps)) / 2 / (x[-1] - x[0])
        rows_by_seed.setdefault(tuple(curve), {})[int(seed)] = WeightedRows(number[own], weights)
    return rows_by_seed
