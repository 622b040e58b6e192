"""Friedman tests of first pools over data sets, or over the seeds of one sweep."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from initpools_cli.core.types import DataFrame
from initpools_cli.stats.friedman import friedman_all
from initpools_cli.stats.metric_names import PRIMARY
from initpools_cli.stats.paired import holm
from initpools_cli.stats.verdict_text import p_value, setting
from initpools_cli.stats.verdicts import ALPHA, MEASURES, values_of


class FriedmanRow(NamedTuple):
    """Friedman test of first pools over blocks, by one measure with one query and learner.

    Attributes
    ----------
    measure, query, learner : str
    blocks : int
        Number of data sets, or of seeds of one data set.
    ranks : dict of str to float
        Mean rank of each first pool that all blocks have, 1 the best.
    statistic, p, p_holm : float
        Friedman's chi-square and p-value, and p corrected over all rows by Holm.
    critical_difference : float
        Mean ranks that differ by more are significantly different (Nemenyi, 0.05).
    family : int
        Number of rows in the correction.
    unit : str
        "data sets" or "seeds".
    """

    measure: str
    query: str
    learner: str
    blocks: int
    ranks: dict[str, float]
    statistic: float
    p: float
    p_holm: float
    critical_difference: float
    family: int
    unit: str = "data sets"

    @property
    def differ(self) -> bool:
        """Whether the test finds a significant difference."""
        return self.p_holm <= ALPHA

    @property
    def decidable(self) -> bool:
        """Whether the test could be significant if all blocks had the same order."""
        return self.family * math.factorial(len(self.ranks)) ** (1.0 - self.blocks) <= ALPHA

    @property
    def sentence(self) -> str:
        """The result as a sentence."""
        order = ", ".join(f"{init} {rank:.2f}" for init, rank in sorted(self.ranks.items(), key=lambda item: item[1]))
        where = setting(query=self.query, learner=self.learner)
        about = f"Ranked by {self.measure} over {self.blocks} {self.unit} ({where}), first pools"
        result = f"{p_value(self.p_holm, self.family)}; mean ranks {order}"
        if self.differ:
            least = f"two ranks differ significantly if they are more than {self.critical_difference:.2f} apart"
            return f"{about} differ: {result}; {least}."
        if not self.decidable:
            few = f"{self.blocks} {self.unit} are too few for a significant difference"
            return f"{about} are not distinguishable: {few}, whatever the ranks; {result}."
        return f"{about} are not distinguishable: {result}."


def across(sweeps: Sequence[DataFrame], metric: str = PRIMARY, measures: Sequence[str] = MEASURES) -> list[FriedmanRow]:
    """Compare the first pools that all sweeps have by Friedman's test, with the sweeps as blocks.

    The value of a block is the mean over seeds and encoders, without failed cells.

    Parameters
    ----------
    sweeps : sequence of DataFrame
        Rows of each ``rounds.csv``, one per data set.

    Returns
    -------
    list of FriedmanRow
        One per measure, query and learner that all sweeps have; none for fewer than two sweeps or two first pools.
    """
    import pandas as pd

    if len(sweeps) < 2:
        return []
    results = []
    for measure in measures:
        means = [
            values_of(rounds, metric, measure).groupby(["query", "learner", "init"], sort=False)["value"].mean()
            for rounds in sweeps
        ]
        shared = pd.concat(means, axis=1, join="inner").dropna()
        blocks = [block for _, block in shared.groupby(["query", "learner"], sort=False)]
        results += _ranked(blocks, measure, "data sets")
    return _corrected(results)


def over_seeds(rounds: DataFrame, metric: str = PRIMARY, measures: Sequence[str] = MEASURES) -> list[FriedmanRow]:
    """Compare the first pools of one sweep by Friedman's test, with its seeds as blocks.

    The result holds for this data set only. The value of a block is the mean over encoders. First pools without any
    value are left out, and seeds at which a first pool has no value.

    Parameters
    ----------
    rounds : DataFrame
        Rows of ``rounds.csv``.

    Returns
    -------
    list of FriedmanRow
        One per measure, query and learner; none for fewer than two seeds or two first pools.
    """
    results = []
    for measure in measures:
        values = values_of(rounds, metric, measure)
        cells = values.groupby(["query", "learner", "init", "seed"], sort=False)["value"].mean().unstack("seed")
        groups = cells.groupby(["query", "learner"], sort=False)
        blocks = [block.dropna(how="all").dropna(axis="columns") for _, block in groups]
        results += _ranked([block for block in blocks if block.shape[1] > 1], measure, "seeds")
    return _corrected(results)


def _ranked(tables: Sequence[DataFrame], measure: str, unit: str) -> list[FriedmanRow]:
    """Run Friedman's test for each table of one query and learner; columns are blocks, rows (query, learner, init)."""
    tables = [table for table in tables if len(table) > 1]
    tests = friedman_all([table.to_numpy().T for table in tables])
    results = []
    for table, test in zip(tables, tests, strict=True):
        query, learner, _ = table.index[0]
        inits = [str(init) for init in table.index.get_level_values("init")]
        ranks = dict(zip(inits, map(float, test.ranks), strict=True))
        name = (measure, str(query), str(learner), table.shape[1], ranks)
        results.append(FriedmanRow(*name, test.statistic, test.p, test.p, test.critical_difference, 1, unit))
    return results


def _corrected(results: list[FriedmanRow]) -> list[FriedmanRow]:
    p_values = holm([row.p for row in results])
    return [row._replace(p_holm=float(p), family=len(results)) for row, p in zip(results, p_values, strict=True)]
