"""Learning curves out of the rows of ``rounds.csv``: means over seeds, and areas."""

from __future__ import annotations

from typing import NamedTuple, cast

import numpy as np
from numpy.typing import ArrayLike

from initpools_cli.core.types import DataFrame
from initpools_cli.stats.intervals import mean_interval

CURVE = ["init", "query", "learner", "encoder"]


class CurvePoint(NamedTuple):
    """A row of `summarize`: labeled in images; mean, low and high in the metric's unit."""

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
    """Every curve complete from round 0.

    Round 0 scores the first pool before any query, so its rows have no query; here each is repeated under every
    query that its (init, learner, encoder) went on with. Where none did, the query stays empty.

    Parameters
    ----------
    rounds : DataFrame
        Rows of ``rounds.csv``.

    Returns
    -------
    DataFrame
        The same columns, no missing names: an empty query or encoder is ``""``.
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


def summarize(rounds: DataFrame, metric: str = "accuracy", level: float = 0.95) -> DataFrame:
    """Mean and confidence interval over seeds of every point of every learning curve.

    Parameters
    ----------
    rounds : DataFrame
        Rows of ``rounds.csv``; a row whose status is not "ok" counts as failed and is in no mean.
    metric : str
        The column to average.
    level : float
        Coverage of the interval.

    Returns
    -------
    DataFrame
        One row per init, query, learner, encoder, round and labeled (images), in the order in which the curves first
        come in `rounds`: `n_seeds` behind the mean, `n_failed` seeds that had failed by that round, `mean`, `low` and
        `high` in the metric's unit. A point at which every seed failed has no row; a curve that failed from
        the first has none at all, see `failures`.
    """
    import pandas as pd

    rows = with_shared_start(rounds)
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
            n_seeds, n_failed = int((~np.isnan(values)).sum()), int((since <= at).sum())
            seen = (int(at), int(labeled), n_seeds, n_failed)
            points.append(CurvePoint(init, query, learner, encoder, *seen, *interval))
    return pd.DataFrame(points, columns=list(CurvePoint._fields))


def points_of(summary: DataFrame) -> list[CurvePoint]:
    """The rows of a summary, one by one."""
    return [CurvePoint(*row) for row in summary[list(CurvePoint._fields)].itertuples(index=False, name=None)]


def failures(rounds: DataFrame) -> DataFrame:
    """The cells (init, query, learner, encoder, seed) with at least one row that is not "ok", each once."""
    rows = with_shared_start(rounds)
    return rows.loc[rows["status"] != "ok", [*CURVE, "seed"]].drop_duplicates(ignore_index=True)


def whole_cells(rounds: DataFrame) -> DataFrame:
    """The rows of `with_shared_start` that belong to cells with every round of the sweep, all of them "ok".

    A cell that lost a round is no shorter curve: its area, or where it crosses a line, would be of other labels.
    """
    rows = with_shared_start(rounds)
    cells = rows.assign(good=rows["status"] == "ok").groupby([*CURVE, "seed"], sort=False)
    whole = cells["good"].transform("all") & (cells["round"].transform("nunique") == rows["round"].nunique())
    return rows[whole]


def area_under_curve(labeled: ArrayLike, values: ArrayLike) -> float:
    """Mean height of a learning curve over its span of labels, by trapezoids.

    Parameters
    ----------
    labeled : array_like, shape (r,)
        Labels bought, strictly ascending.
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


def areas(rounds: DataFrame, metric: str = "accuracy") -> DataFrame:
    """Area under the learning curve of every cell.

    Parameters
    ----------
    rounds : DataFrame
        Rows of ``rounds.csv``.
    metric : str
        The column that is the curve's height.

    Returns
    -------
    DataFrame
        init, query, learner, encoder, seed, area: one row a cell; NaN where the cell failed or has a single round.
    """
    import pandas as pd

    rows = []
    for name, cell in with_shared_start(rounds).groupby([*CURVE, "seed"], sort=False):
        ordered = cell.sort_values("labeled")
        whole = bool((ordered["status"] == "ok").all())
        rows.append((*name, area_under_curve(ordered["labeled"], ordered[metric]) if whole else float("nan")))
    return pd.DataFrame(rows, columns=[*CURVE, "seed", "area"])
