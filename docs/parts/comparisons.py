"""Pools compared with random ones in the preregistered studies: differences paired by seed, and their tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd

from initpools_cli.stats.paired import Paired, holm, paired
from parts.statistics import RESULTS
from parts.text import table

ALPHA = 0.05
NOT_RUN = "not run"


class Cell(NamedTuple):
    """What one cell of a table compares.

    Attributes
    ----------
    row, column : str
        Its place in the table.
    first, second : list of Series
        Values by seed, one Series for each encoder; empty if it was not run.
    """

    row: str
    column: str
    first: list[pd.Series]
    second: list[pd.Series]


class Difference(NamedTuple):
    """Difference of a cell, averaged over the encoders for each seed.

    Attributes
    ----------
    result : Paired
    corrected : float
        p after Holm's correction over the family.
    signs : str
        Sign of the mean difference with each encoder.
    """

    result: Paired
    corrected: float
    signs: str

    @property
    def counts(self) -> bool:
        """Whether the corrected p is at most 0.05."""
        return self.corrected <= ALPHA

    @property
    def consistent(self) -> bool:
        """Whether all encoders have the same sign."""
        return len(set(self.signs)) == 1

    def text(self) -> str:
        """Format the difference in points, its interval, a mark if it counts, and the signs of several encoders."""
        points, low, high = (100 * value for value in (self.result.difference, self.result.low, self.result.high))
        mark = ("▲" if points > 0 else "▼") if self.counts else ""
        signs = f" {self.signs}" if len(self.signs) > 1 else ""
        return f"{points:+.1f}{mark} ({low:+.1f} to {high:+.1f}){signs}"


@cache
def cells() -> pd.DataFrame:
    """Read the rounds of all cells of the studies that are not failed."""
    rows = pd.read_parquet(RESULTS / "preregistered.parquet")
    return rows[rows["status"] == "ok"]


def values(metric: str = "accuracy", **where: object) -> list[pd.Series]:
    """Return a metric by seed for each run that has the cells; none if there are none.

    Parameters
    ----------
    metric : str
    **where : value or list of values
        What the columns must be. Of a cell that several sweeps of a run have, the first counts.
    """
    rows = cells()
    for column, value in where.items():
        rows = rows[rows[column].isin(value) if isinstance(value, list) else rows[column] == value]
    return [own.drop_duplicates("seed").set_index("seed")[metric] for _, own in rows.groupby("run")]


def difference(first: Sequence[pd.Series], second: Sequence[pd.Series]) -> tuple[Paired, str]:
    """Compare pools over the seeds; differences are averaged over the encoders first.

    Parameters
    ----------
    first, second : sequence of Series
        One for each encoder; `second` may have a single one for all.
    """
    seconds = [*second] * (len(first) if len(second) == 1 else 1)
    by_encoder = [pd.concat([a, b], axis=1, keys=("a", "b")).dropna() for a, b in zip(first, seconds, strict=True)]
    signs = "".join("+" if (own["a"] - own["b"]).mean() > 0 else "−" for own in by_encoder)
    mean = pd.concat(by_encoder, keys=range(len(by_encoder))).groupby("seed").mean()
    return paired(mean["a"].to_numpy(), mean["b"].to_numpy()), signs


def judged(family: Iterable[Cell]) -> dict[tuple[str, str], Difference]:
    """Compare every cell of a family that was run; the correction counts those that were not run, too."""
    family = [*family]
    run = {
        (cell.row, cell.column): difference(cell.first, cell.second) for cell in family if cell.first and cell.second
    }
    p_values = holm(np.array([result.p for result, _ in run.values()]), len(family)) if run else []
    return {
        place: Difference(result, float(p), signs)
        for (place, (result, signs)), p in zip(run.items(), p_values, strict=True)
    }


def difference_table(heading: str, family: Iterable[Cell]) -> str:
    """Tabulate the differences of a family, row by column."""
    family = [*family]
    differences = judged(family)
    if not differences:
        return "Not run."
    rows, columns = (list(dict.fromkeys(getattr(cell, name) for cell in family)) for name in ("row", "column"))
    places = {(cell.row, cell.column) for cell in family}
    lines = [
        (row, *(_text(differences, (row, column)) if (row, column) in places else "" for column in columns))
        for row in rows
    ]
    return table((heading, *columns), lines)


def _text(differences: Mapping[tuple[str, str], Difference], place: tuple[str, str]) -> str:
    return differences[place].text() if place in differences else NOT_RUN
