"""Statistics of a table of a suite: differences from a baseline, wins and losses, regret, and tests over data sets."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from initpools_cli.core.types import DataFrame
from initpools_cli.stats.intervals import mean_interval
from initpools_cli.stats.paired import Paired, holm, paired, sign_flip
from initpools_cli.stats.verdicts import decide

#: What identifies a setting in which strategies are compared, over the same seeds.
SETTING = ["data", "encoder", "learner", "budget", "candidates", "query", "labeled"]
#: What identifies a strategy: its name, and the knobs that a suite sets.
STRATEGY = ["strategy", "variant"]


class Comparison(NamedTuple):
    """Row of `comparisons`: a strategy against the baseline in one setting.

    Attributes
    ----------
    strategy : str
        With the knobs that a suite sets.
    data, origin, encoder, learner, query : str
    budget, labeled : int
    seeds : int
        Number of pairs.
    mean, against, difference, low, high : float
        In the metric's unit; low and high are the 95 % interval of the difference over seeds.
    p, p_holm : float
        p-value of the sign-flip test, and corrected over the comparisons of the strategy.
    family : int
    verdict : str
        "better", "worse", "not distinguishable" or another of `decide`.
    """

    strategy: str
    data: str
    origin: str
    encoder: str
    learner: str
    query: str
    budget: int
    labeled: int
    seeds: int
    mean: float
    against: float
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    family: int
    verdict: str


class Standing(NamedTuple):
    """Row of `standings`: a strategy over all settings of its kind.

    Attributes
    ----------
    strategy : str
    added : bool
    comparisons, better, unclear, worse : int
        Comparisons with the baseline, and how they ended after correction.
    difference, low, high : float
        Mean over origins of the mean difference from the baseline, and its 95 % interval; see `over_origins`.
    regret : float
        Mean over origins of the best mean of any strategy in a setting minus its own.
    pool_seconds : float
        Mean runtime of a first pool.
    """

    strategy: str
    added: bool
    comparisons: int
    better: int
    unclear: int
    worse: int
    difference: float
    low: float
    high: float
    regret: float
    pool_seconds: float


class Pair(NamedTuple):
    """Row of `pairs`: two strategies over independent data sets.

    Attributes
    ----------
    first, second : str
    origins : int
        Number of independent data sets with settings that both have.
    difference : float
        Mean over origins of the mean difference, first minus second.
    p, p_holm : float
        Wilcoxon's signed-rank test, exact, and corrected over all pairs.
    """

    first: str
    second: str
    origins: int
    difference: float
    p: float
    p_holm: float


def values(table: DataFrame, metric: str = "accuracy") -> DataFrame:
    """Return one value per cell: with the first pool, and with queries at the last round.

    Parameters
    ----------
    table : DataFrame
        With the columns of `initpools_cli.bench.table`.
    metric : str
        A column for which higher is better.

    Returns
    -------
    DataFrame
        `SETTING`, origin, strategy (with its variant), added, seed, value and pool_seconds. A cell that several sweeps
        have is there once.
    """
    rows = table[(table["status"] == "ok") & table[metric].notna()]
    last = rows.groupby(["data", "sweep"])["round"].transform("max")
    rows = rows[(rows["round"] == 0) | ((rows["round"] == last) & (rows["query"] != ""))]
    names = [" ".join(filter(None, pair)) for pair in zip(*(rows[column] for column in STRATEGY), strict=True)]
    rows = rows.assign(strategy=names, value=rows[metric].astype(float))
    rows = rows.assign(query=rows["query"].where(rows["round"] > 0, ""))
    rows = rows.sort_values("round", kind="stable").drop_duplicates([*SETTING, "strategy", "seed"]).sort_index()
    return rows[[*SETTING, "origin", "strategy", "added", "seed", "value", "pool_seconds"]].reset_index(drop=True)


def comparisons(cells: DataFrame, against: str = "random", alpha: float = 0.05) -> list[Comparison]:
    """Compare every strategy with a baseline in every setting, paired by seed.

    p-values are corrected by Holm over the comparisons of one strategy: for each strategy, the probability that any of
    its verdicts is a false alarm is at most `alpha`.

    Parameters
    ----------
    cells : DataFrame
        From `values`.
    """
    results_of: dict[str, list[tuple[tuple[object, ...], Paired]]] = {}
    for setting, rows in cells.groupby([*SETTING, "origin"], sort=False):
        by_strategy = rows.pivot(index="seed", columns="strategy", values="value")
        if against not in by_strategy:
            continue
        for name in dict.fromkeys(rows["strategy"]):
            if name != against:
                result = paired(by_strategy[name].to_numpy(), by_strategy[against].to_numpy())
                results_of.setdefault(str(name), []).append((setting, result))
    return [row for name, results in results_of.items() for row in _corrected(name, results, alpha)]


def _corrected(name: str, results: list[tuple[tuple[object, ...], Paired]], alpha: float) -> Iterator[Comparison]:
    p_values = holm([each.p for _, each in results])
    for (setting, each), p_holm in zip(results, p_values, strict=True):
        data, encoder, learner, budget, _, query, labeled, origin = map(str, setting)
        yield Comparison(
            strategy=name,
            data=data,
            origin=origin,
            encoder=encoder,
            learner=learner,
            query=query,
            budget=int(budget),
            labeled=int(labeled),
            seeds=each.pairs,
            mean=each.mean,
            against=each.against,
            difference=each.difference,
            low=each.low,
            high=each.high,
            p=each.p,
            p_holm=float(p_holm),
            family=len(results),
            verdict=decide(each, float(p_holm), len(results), alpha),
        )


def standings(cells: DataFrame, against: str = "random", budget: int | None = None) -> list[Standing]:
    """Summarize every strategy over all settings, or those of one budget, the largest mean difference first.

    Parameters
    ----------
    cells : DataFrame
        From `values`.
    budget : int, optional
        Labels in the first pool. Verdicts are corrected over all budgets in any case.
    """
    rows = comparisons(cells, against)
    budget_cells = cells if budget is None else cells[cells["budget"] == budget]
    regrets = regret(budget_cells)
    seconds = budget_cells.groupby("strategy")["pool_seconds"].mean()
    is_added = cells.groupby("strategy")["added"].any()
    standings_list = []
    for name in dict.fromkeys(cells["strategy"]):
        own = [row for row in rows if row.strategy == name and budget in (None, row.budget)]
        if not own and (name != against or name not in regrets):
            continue
        verdicts = [row.verdict for row in own]
        better, worse = verdicts.count("better"), verdicts.count("worse")
        standings_list.append(
            Standing(
                str(name),
                bool(is_added[name]),
                len(own),
                better,
                len(own) - better - worse,
                worse,
                *((0.0, np.nan, np.nan) if name == against else over_origins(budget_cells, str(name), against)),
                float(regrets[name]),
                float(seconds.get(name, np.nan)),
            )
        )
    return sorted(standings_list, key=lambda each: -each.difference)


def over_origins(cells: DataFrame, name: str, against: str) -> tuple[float, float, float]:
    """Compute the mean difference of two strategies and its 95 % interval over independent data sets.

    The mean is over seeds, over the settings of an origin, and then over origins; only settings and seeds that both
    have count. The t-interval is over origins; with a single one it is over its seeds.

    Returns
    -------
    difference, low, high : float
        NaN if there is nothing in common.
    """
    both = cells[cells["strategy"].isin([name, against])]
    wide = both.pivot_table(index=["origin", *SETTING, "seed"], columns="strategy", values="value")
    if name not in wide or against not in wide:
        return np.nan, np.nan, np.nan
    difference = (wide[name] - wide[against]).dropna()
    by_setting = difference.groupby(["origin", *SETTING]).mean()
    by_origin = by_setting.groupby("origin").mean()
    if not len(by_origin):
        return np.nan, np.nan, np.nan
    if len(by_origin) > 1:
        interval = mean_interval(by_origin.to_numpy())
        return interval.mean, interval.low, interval.high
    interval = mean_interval(difference.groupby("seed").mean().to_numpy())
    return float(by_origin.iloc[0]), interval.low, interval.high


def regret(cells: DataFrame) -> dict[str, float]:
    """Compute by how much each strategy falls short of the best one in each setting, as the mean over origins.

    The means over seeds of all strategies in a setting are compared; a strategy that is missing in a setting has no
    regret there.
    """
    means = cells.groupby(["origin", *SETTING, "strategy"])["value"].mean().unstack("strategy")
    short = means.rsub(means.max(axis=1), axis=0)
    return {str(name): float(each) for name, each in short.groupby("origin").mean().mean().items()}


def pairs(cells: DataFrame, strategies: Sequence[str] = ()) -> list[Pair]:
    """Compare all pairs of strategies over independent data sets, the smallest p first.

    The value of a strategy on an origin is its mean over seeds and over the settings that both strategies have.

    Parameters
    ----------
    cells : DataFrame
        From `values`.
    strategies : sequence of str
        Default: all.
    """
    means = cells.groupby(["origin", *SETTING, "strategy"])["value"].mean().unstack("strategy")
    rows = []
    for first, second in itertools.combinations(strategies or list(means.columns), 2):
        by_origin = (means[first] - means[second]).dropna().groupby("origin").mean().to_numpy()
        if len(by_origin):
            p = signed_rank(by_origin)
            rows.append(Pair(str(first), str(second), len(by_origin), float(by_origin.mean()), p, p))
    p_values = holm([each.p for each in rows])
    rows = [each._replace(p_holm=float(p)) for each, p in zip(rows, p_values, strict=True)]
    return sorted(rows, key=lambda each: each.p)


def signed_rank(differences: ArrayLike) -> float:
    """Compute the two-sided p-value of Wilcoxon's signed-rank test, exact up to 30 differences, also with ties.

    Ranks of zeros count for neither side (Pratt 1959).
    """
    from scipy.stats import rankdata

    d = np.asarray(differences, dtype=np.float64)
    return sign_flip(np.sign(d) * rankdata(np.abs(d)))


def sentence(rows: Sequence[Comparison], name: str, against: str = "random") -> str:
    """Say in how many comparisons a strategy of the user was better than the baseline.

    Parameters
    ----------
    rows : sequence of Comparison
    """
    own = [row for row in rows if row.strategy == name]
    better, worse = (sum(row.verdict == verdict for row in own) for verdict in ("better", "worse"))
    few = sum(row.verdict.startswith("cannot") for row in own)
    text = f"{name}: better than {against} in {better} of {len(own)} comparisons after correction, worse in {worse}"
    return f"{text}; too few seeds for a verdict in {few}" if few else text
