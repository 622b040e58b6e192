"""Results over all sweeps: correlation of early and late accuracy, and ranks of first pools."""

from __future__ import annotations

from typing import Any

import pandas as pd

from initpools_cli.stats.verdicts import ALPHA
from study.sweeps import Study
from study.text import conjoined, table


def later(study: Study) -> list[str]:
    """Correlate accuracy with the first pool and accuracy at the last round."""
    parts = []
    for setting in study.settings:
        rows = study.rows("first_and_later", setting)
        ends = rows[rows["labeled"] == rows["last"]]
        between, within = ends[ends["init"] == ""], ends[ends["init"] != ""]
        if not len(ends):
            continue
        queries = list(dict.fromkeys(between["query"]))
        lines = []
        for (data, size, last), of in between.groupby(["data", "size", "last"], sort=False):
            cells = {row["query"]: _spearman(row) for row in of.to_dict("records")}
            lines.append((data, size, last, *(cells.get(query, "") for query in queries)))
        above, below = int((within["pearson_low"] > 0).sum()), int((within["pearson_high"] < 0).sum())
        parts += [
            f"**{setting}.** Spearman's correlation between accuracy with the first pool and accuracy at the last "
            "round, over first pools (means over seeds), with its 95 % interval:",
            table(("data set", "first labels", "last labels", *queries), lines),
            f"Pearson's correlation within one first pool, over its seeds: the median of {len(within)} is "
            f"{within['pearson'].median():+.2f}. The 95 % interval is above 0 in {above} of them, "
            f"and below 0 in {below}."
            if len(within)
            else "",
        ]
    return ["## Does a better first pool mean a better model later?", *parts] if parts else []


def _spearman(row: dict[Any, Any]) -> str:
    return f"{row['spearman']:+.2f} ({row['spearman_low']:+.2f} to {row['spearman_high']:+.2f})"


def over_data_sets(study: Study) -> list[str]:
    """Rank the first pools over the data sets."""
    parts = []
    for setting in study.settings:
        sizes = {sweep.name: sweep.size for sweep in study.of(setting)}
        tests_by_sweep = {
            name: study.verdicts_by_name[name].across for name in sizes if study.verdicts_by_name[name].across
        }
        starts = {name: row for name, rows in tests_by_sweep.items() for row in rows if row.measure == "first pool"}
        if not starts:
            continue
        ranks = pd.DataFrame({name: row.ranks for name, row in starts.items()}).dropna()
        ranks = ranks.loc[ranks.mean(axis=1).sort_values(kind="stable").index]
        lines = [
            *((f"`{init}`", *(f"{rank:.1f}" for rank in own)) for init, own in ranks.iterrows()),
            ("*data sets*", *(row.blocks for row in starts.values())),
            ("*p*", *(f"{row.p_holm:.2g}" for row in starts.values())),
            ("*critical difference*", *(f"{row.critical_difference:.1f}" for row in starts.values())),
        ]
        # The mean ranks of the best and the worst of k differ by at most k - 1.
        beyond = all(row.critical_difference >= len(row.ranks) - 1 for row in starts.values())
        tests = [row for rows in tests_by_sweep.values() for row in rows]
        family = conjoined(sorted({row.family for row in tests}))
        parts += [
            f"**{setting}.** Mean ranks by accuracy with the first pool alone; 1 is the best. p is that of Friedman's "
            f"test by permutation, after Holm's correction over the tests of a size ({family}). By Nemenyi's test, two "
            "first pools differ if their mean ranks differ by more than the critical difference"
            + (", which is impossible with so few data sets." if beyond else "."),
            table(("first pool", *(f"{sizes[name]} labels" for name in starts)), lines),
            f"Over all sizes, measures and queries, {sum(row.p_holm <= ALPHA for row in tests)} of {len(tests)} tests "
            "find a difference between first pools (including random).",
        ]
    return ["## Over the data sets", *(parts or ["No size is finished on two data sets, so there is no ranking."])]
