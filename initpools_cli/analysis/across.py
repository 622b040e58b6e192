"""First pools ranked over sweeps on several data sets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from initpools_cli.analysis.friedman import friedman
from initpools_cli.analysis.paired import holm
from initpools_cli.analysis.types import DataFrame
from initpools_cli.analysis.verdicts import ALPHA, MEASURES, values_of


class Across(NamedTuple):
    """How first pools rank over data sets, by one measure under one query and learner.

    Attributes
    ----------
    measure, query, learner : str
    blocks : int
        Data sets.
    ranks : dict of str to float
        Mean rank of each first pool that all of them have, 1 the best.
    statistic, p, p_holm : float
        Friedman's; corrected over all rows.
    critical_difference : float
        Mean ranks farther apart than this differ (Nemenyi, 0.05).
    family : int
        Rows that the correction is over.
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

    @property
    def sentence(self) -> str:
        """What it says, in plain words."""
        order = ", ".join(f"{init} {rank:.2f}" for init, rank in sorted(self.ranks.items(), key=lambda item: item[1]))
        setting = ", ".join(part for part in (self.query, self.learner) if part)
        about = f"Over {self.blocks} data sets, by {self.measure} ({setting}), first pools"
        seen = f"p = {self.p_holm:.2g} in a family of {self.family}; mean ranks {order}"
        if self.p_holm <= ALPHA:
            return f"{about} differ: {seen}; those farther apart than {self.critical_difference:.2f}."
        # All data sets in one order is the most that can be seen.
        if self.family * math.factorial(len(self.ranks)) ** (1.0 - self.blocks) > ALPHA:
            return f"{about} cannot be told apart, whatever the order: {self.blocks} data sets are too few; {seen}."
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
        shared = pd.concat(means, axis=1, join="inner").dropna()
        for (query, learner), block in shared.groupby(["query", "learner"], sort=False):
            if len(block) > 1:
                ranked = friedman(block.to_numpy().T)
                inits = [str(init) for init in block.index.get_level_values("init")]
                ranks = dict(zip(inits, map(float, ranked.ranks), strict=True))
                name = (measure, str(query), str(learner), len(sweeps), ranks)
                found.append(Across(*name, ranked.statistic, ranked.p, ranked.p, ranked.critical_difference, 1))
    corrected = holm([row.p for row in found])
    return [row._replace(p_holm=float(p), family=len(found)) for row, p in zip(found, corrected, strict=True)]
