"""Pearson and Spearman correlations with confidence intervals."""

from __future__ import annotations

import math
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import ArrayLike

from initpools_cli.core.types import DataFrame
from initpools_cli.stats.intervals import ROUNDING
from initpools_cli.stats.learning_curves import CURVE, with_shared_start
from initpools_cli.stats.metric_names import PRIMARY, chosen_metric

# Fewer pairs have no confidence interval.
FEWEST = 4


class Correlation(NamedTuple):
    """Pearson and Spearman coefficients of `pairs` pairs, each with confidence interval and two-sided p-value."""

    pairs: int
    pearson: float
    pearson_low: float
    pearson_high: float
    pearson_p: float
    spearman: float
    spearman_low: float
    spearman_high: float
    spearman_p: float


def correlation(first: ArrayLike, second: ArrayLike, level: float = 0.95) -> Correlation:
    """Compute Pearson and Spearman correlations, with intervals by Fisher's transformation.

    The variance of Spearman's is (1 + r²/2) / (n - 3) (Bonett & Wright 2000); its p-value is from the t-distribution.

    Parameters
    ----------
    first, second : array_like of float, shape (n,)
        Independent pairs; pairs with NaN are left out.
    level : float
        Confidence level.

    Returns
    -------
    Correlation
        All NaN for fewer than four pairs, or if either variable is constant.
    """
    from scipy.stats import rankdata

    x, y = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    both = ~(np.isnan(x) | np.isnan(y))
    x, y = x[both], y[both]
    if len(x) < FEWEST or any(np.ptp(each) <= ROUNDING * np.abs(each).max() for each in (x, y)):
        return Correlation(len(x), *[math.nan] * 8)
    pearson = _coefficient(x, y)
    spearman = _coefficient(rankdata(x), rankdata(y))
    return Correlation(
        len(x),
        *_with_interval(pearson, 1.0, len(x), level),
        *_with_interval(spearman, 1 + spearman**2 / 2, len(x), level),
    )


def _coefficient(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.clip(np.corrcoef(x, y)[0, 1], -1, 1))


def _with_interval(r: float, inflation: float, n: int, level: float) -> tuple[float, float, float, float]:
    from scipy.special import ndtri, stdtr

    if abs(r) > 1 - ROUNDING:
        return r, r, r, 0.0
    half = float(ndtri((1 + level) / 2)) * math.sqrt(inflation / (n - 3))
    p = 2 * float(stdtr(n - 2, -abs(r) * math.sqrt((n - 2) / (1 - r * r))))
    return r, math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half), p


def start_and_later(rounds: DataFrame, metric: str = PRIMARY) -> DataFrame:
    """Pair the metric of each cell's first pool with the metric of each of its later rounds.

    Parameters
    ----------
    rounds : DataFrame
        Rows of ``rounds.csv``.

    Returns
    -------
    DataFrame
        init, query, learner, encoder, seed, labeled (images), `start` (the metric at round 0, NaN if that failed) and
        `later`; one row per round that did not fail.
    """
    metric = chosen_metric(metric, rounds.columns)
    rows = with_shared_start(rounds)
    rows = rows[rows["status"] == "ok"]
    start = rows[rows["round"] == 0].set_index([*CURVE, "seed"])[metric]
    later = rows[rows["round"] > 0].join(start[~start.index.duplicated()].rename("start"), on=[*CURVE, "seed"])
    return later.rename(columns={metric: "later"})[[*CURVE, "seed", "labeled", "start", "later"]]


def first_and_later(rounds: DataFrame, metric: str = PRIMARY) -> DataFrame:
    """Correlate the metric of first pools with the metric of later rounds.

    Within a first-pool strategy the pairs are its seeds; between strategies (`init` = "") they are the means of the
    strategies over seeds. The two are separate because seeds of one strategy are not independent evidence about
    strategies.

    Parameters
    ----------
    rounds : DataFrame
        Rows of ``rounds.csv``.

    Returns
    -------
    DataFrame
        init, query, learner, encoder, labeled (images), and the fields of `Correlation`, between the metric at round 0
        and at that number of labels. Rounds with fewer than four pairs or a constant variable have no row.
    """
    import pandas as pd

    later = start_and_later(rounds, metric)
    results = []
    for name, group in later.groupby(["query", "learner", "encoder", "labeled"], sort=False):
        query, learner, encoder, labeled = cast("tuple[str, str, str, int]", name)
        means = group.groupby("init", sort=False)[["start", "later"]].mean()
        for init, pairs in [*group.groupby("init", sort=False), ("", means)]:
            of = correlation(pairs["start"], pairs["later"])
            if not math.isnan(of.pearson):
                results.append((init, query, learner, encoder, int(labeled), *of))
    return pd.DataFrame(results, columns=[*CURVE, "labeled", *Correlation._fields])
