"""Generated part of docs/pitfalls.md: what queries gained over random labels in the sweeps of configs/pitfalls."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from parts.comparisons import Cell, difference_table
from parts.statistics import RESULTS

METRIC = "balanced_accuracy"


def _cells(rows: pd.DataFrame, baseline: pd.Series) -> Iterator[Cell]:
    for query in [name for name in rows["query"].unique() if name != "random"]:
        for sweep, own in rows.groupby("variant", sort=False):
            by_query = {name: each.set_index("seed")[METRIC] for name, each in own.groupby("query")}
            column = f"{sweep} ({100 * baseline[sweep]:.1f} %)"
            yield Cell(f"`{query}`", column, [by_query[query]], [by_query["random"]])


def pitfall(name: str) -> str:
    """Tabulate the difference of every query from random labels in the last round, by sweep."""
    rows = pd.read_csv(RESULTS / "pitfalls.csv")
    rows = rows[(rows["pitfall"] == name) & (rows["status"] == "ok")]
    baseline = rows[rows["query"] == "random"].groupby("variant")[METRIC].mean()
    return difference_table("query", _cells(rows, baseline))


PARTS = {"pitfall": pitfall}
