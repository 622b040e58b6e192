"""First pools ranked over sweeps on several data sets, or over the seeds of one sweep."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from initpools_cli.core.types import DataFrame
from initpools_cli.stats.friedman import friedman
from initpools_cli.stats.paired import holm
from initpools_cli.stats.verdicts import ALPHA, MEASURES, values_of


class Across(NamedTuple):
    """How first pools rank over blocks, by one measure under one query and learner.

    Attributes
    ----------
    measure, query, learner : str
    blocks : int
        Data sets, or seeds of one.
    ranks : dict of str to float
        Mean rank of each first pool that all of them have, 1 the best.
    statistic, p, p_holm : float
        Friedman's; corrected over all rows.
    critical_difference : float
        Mean ranks farther apart than this differ (Nemenyi, 0.05).
    family : int
        Rows that the correction is over.
    unit : str
        What the blocks are.
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
        """Whether Friedman's test finds that they do."""
        return self.p_holm <= ALPHA

    @property
    def decidable(self) -> bool:
        """Whether it could, had all blocks put them in one order: the most that can be seen."""
        return self.family * math.factorial(len(self.ranks)) ** (1.0 - self.blocks) <= ALPHA

    @property
    def sentence(self) -> str:
        """What it says, in plain words."""
        order = ", ".join(f"{init} {rank:.2f}" for init, rank in sorted(self.ranks.items(), key=lambda item: item[1]))
        setting = ", ".join(part for part in (self.query, self.learner) if part)
        about = f"Over {self.blocks} {self.unit}, by {self.measure} ({setting}), first pools"
        seen = f"p = {self.p_holm:.2g} in a family of {self.family}; mean ranks {order}"
        if self.differ:
            return f"{about} differ: {seen}; those farther apart than {self.critical_difference:.2f}."
        if not self.decidable:
            return f"{about} cannot be told apart, whatever the order: {self.blocks} {self.unit} are too few; {seen}."
        return f"{about} are not distinguishable: {seen}."


def across(sweeps: Sequence[DataFrame], metric: str = "accuracy", measures: Sequence[str] = MEASURES) -> list[Across]:
    """Friedman's test of the first pools that all sweeps have, the sweeps being the blocks.

    Each block's value is the mean over seeds, and over encoders where a sweep has several. Cells that failed are left
    out of the mean.

    Parameters
    ----------
    sweeps : sequence of DataFrame
        Rows of each ``rounds.csv``, each of another data set.

    Returns
    -------
    list of Across
        A row a measure, query and learner that all sweeps have; none for fewer than two sweeps, or two first pools.
    """
    import pandas as pd

    if len(sweeps) < 2:
        return []
    found = []
    for measure in measures:
        means = [
            values_of(rounds, metric, measure).groupby(["query", "learner", "init"], sort=False)["value"].mean()
            for rounds in sweeps
        ]
        found += _ranked(pd.concat(means, axis=1, join="inner").dropna(), measure, "data sets")
    return _corrected(found)


def over_seeds(rounds: DataFrame, metric: str = "accuracy", measures: Sequence[str] = MEASURES) -> list[Across]:
    """The same test within one sweep, its seeds being the blocks: what it finds holds for that data set alone.

    Each block's value is the mean over encoders. A seed at which a first pool has no value is left out,
    and a first pool that has none at all.

    Parameters
    ----------
    rounds : DataFrame
        Rows of ``rounds.csv``.

    Returns
    -------
    list of Across
        A row a measure, query and learner; none for fewer than two seeds, or two first pools.
    """
    found = []
    for measure in measures:
        values = values_of(rounds, metric, measure)
        cells = values.groupby(["query", "learner", "init", "seed"], sort=False)["value"].mean().unstack("seed")
        for _, block in cells.groupby(["query", "learner"], sort=False):
            whole = block.dropna(how="all").dropna(axis="columns")
            found += _ranked(whole, measure, "seeds") if whole.shape[1] > 1 else []
    return _corrected(found)


def _ranked(values: DataFrame, measure: str, unit: str) -> list[Across]:
    """Friedman's test of each query and learner; a column of `values` is a block, a row a query, learner and init."""
    found = []
    for (query, learner), block in values.groupby(["query", "learner"], sort=False):
        if len(block) > 1:
            ranked = friedman(block.to_numpy().T)
            inits = [str(init) for init in block.index.get_level_values("init")]
            ranks = dict(zip(inits, map(float, ranked.ranks), strict=True))
            name = (measure, str(query), str(learner), block.shape[1], ranks)
            found.append(Across(*name, ranked.statistic, ranked.p, ranked.p, ranked.critical_difference, 1, unit))
    return found


def _corrected(found: list[Across]) -> list[Across]:
    corrected = holm([row.p for row in found])
    return [row._replace(p_holm=float(p), family=len(found)) for row, p in zip(found, corrected, strict=True)]
