"""The leaderboard of a table: one page that works offline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from initpools_cli.bench.jobs import AGAINST
from initpools_cli.figures.html import SORT, bullets, folded, paragraph, table
from initpools_cli.figures.section import Section
from initpools_cli.stats.benchmark import (
    Comparison,
    Pair,
    Standing,
    comparisons,
    pairs,
    sentence,
    standings,
    values,
)
from initpools_cli.stats.metric_names import TITLES
from initpools_cli.stats.verdicts import ALPHA

if TYPE_CHECKING:
    import pandas as pd
    from markupsafe import Markup

#: Rows of the table of pairs.
MOST_PAIRS = 50


def leaderboard(rows: pd.DataFrame, metric: str = "accuracy") -> Section:
    """Return the page of a table.

    Parameters
    ----------
    rows : DataFrame
        From `read_table`.
    metric : str
        One of its metrics.
    """
    cells = values(rows, metric)
    first = cells[cells["query"] == ""]
    after_queries = cells[cells["query"] != ""]
    verdicts = comparisons(first, AGAINST)
    parts = [
        _overall(first, metric),
        *(_of_budget(first, int(budget)) for budget in sorted(first["budget"].unique())),
        *([_overall(after_queries, metric, " after the last round of queries")] if len(after_queries) else []),
        _pairs(first),
        _settings(verdicts),
        _left_out(rows),
    ]
    return Section("", _subtitle(rows, first), "", _words(first, verdicts), parts=[part for part in parts if part])


def points(difference: float) -> str:
    """Format a difference of fractions in points with its sign, such as "+1.2"; "–" for NaN."""
    return "–" if math.isnan(difference) else f"{round(100 * difference, 1) + 0.0:+.1f}"


def _subtitle(rows: pd.DataFrame, cells: pd.DataFrame) -> str:
    counts = (("data set", "data"), ("strateg", "strategy"), ("encoder", "encoder"), ("learner", "learner"))
    words = []
    for word, column in counts:
        count = cells[column].nunique()
        ending = {("strateg", True): "y", ("strateg", False): "ies"}.get((word, count == 1), "" if count == 1 else "s")
        words.append(f"{count} {word}{ending}")
    seeds = cells["seed"].nunique()
    return f"{', '.join(words)}, {seeds} seeds: {len(rows[rows['status'] == 'ok']):,} rows."


def _words(cells: pd.DataFrame, verdicts: Sequence[Comparison]) -> list[str]:
    own = dict.fromkeys(cells.loc[cells["added"], "strategy"])
    return [f"{sentence(verdicts, name)}." for name in own]


def _overall(cells: pd.DataFrame, metric: str, when: str = "") -> Section:
    origins = cells["origin"].nunique()
    unit = f"over the {origins} independent data sets" if origins > 1 else "over the seeds of the only data set"
    title = TITLES.get(metric, metric.replace("_", " "))
    about = (
        f"Difference from `{AGAINST}` in points of {title}{when}: the mean over seeds and settings of a data set, and "
        f"then over data sets; its 95 % interval is {unit}, and is not corrected. Better, unclear and worse: "
        f"comparisons with `{AGAINST}` in one setting, by a sign-flip test paired by seed, at {100 * ALPHA:g} % after "
        "Holm's correction over the comparisons of the strategy. Regret: by how much the best strategy of a setting is "
        "better, in points. Cost: seconds for a first pool on the machine that computed it; empty where it was not "
        "measured. Strategies may differ in the settings they have: see the number of comparisons."
    )
    body = _board(f"all budgets{when}", standings(cells, AGAINST)) + paragraph(about, "note")
    return Section(f"All budgets{when}", "", body, [], scripts=[SORT])


def _of_budget(cells: pd.DataFrame, budget: int) -> Section:
    body = _board(f"{budget} labels", standings(cells, AGAINST, budget))
    return Section(f"{budget} labels", "", body, [], anchor=f"budget-{budget}", scripts=[SORT])


def _board(caption: str, rows: Sequence[Standing]) -> Markup:
    header = ["strategy", "difference", "95 % low", "95 % high", "better", "unclear", "worse", "regret", "cost (s)"]
    lines = [
        (
            row.strategy,
            points(row.difference),
            points(row.low),
            points(row.high),
            *((row.better, row.unclear, row.worse) if row.comparisons else ("–", "–", "–")),
            f"{100 * row.regret:.1f}",
            "–" if math.isnan(row.pool_seconds) else f"{row.pool_seconds:.3f}",
        )
        for row in rows
    ]
    marks = ["own" if row.added else "" for row in rows]
    return table(caption, header, lines, numbers=len(header) - 1, marks=marks, sortable=True)


def _pairs(cells: pd.DataFrame) -> Section:
    origins = cells["origin"].nunique()
    if origins < 2:
        text = "Tests over data sets need at least two independent ones."
        return Section("Pairs of strategies over data sets", "", paragraph(text), [])
    rows = pairs(cells)
    different = [row for row in rows if row.p_holm <= ALPHA]
    smallest = 2.0 ** (1 - origins)
    text = (
        f"Wilcoxon's signed-rank test of the means on {origins} independent data sets, for {len(rows):,} pairs; data "
        f"sets of one origin count once. After Holm's correction {len(different)} pairs differ at {100 * ALPHA:g} %."
    )
    if smallest * len(rows) > ALPHA:
        text += (
            f" With {origins} data sets p is at least {smallest:.2g}, so that with {len(rows):,} pairs none could: "
            "read the rows as an order, not as evidence."
        )
    header = ["first", "second", "data sets", "difference", "p", "p after correction"]
    body = paragraph(text) + table("pairs", header, map(_pair, rows[:MOST_PAIRS]), numbers=4, sortable=True)
    more = f"The {MOST_PAIRS} pairs with the smallest p are shown." if len(rows) > MOST_PAIRS else ""
    return Section("Pairs of strategies over data sets", more, body, [], scripts=[SORT])


def _pair(row: Pair) -> tuple[object, ...]:
    return row.first, row.second, row.origins, points(row.difference), f"{row.p:.3g}", f"{row.p_holm:.3g}"


def _settings(rows: Sequence[Comparison]) -> Section:
    header = [
        *("strategy", "data set", "encoder", "learner", "verdict"),
        *("labels", "seeds", "accuracy (%)", "random (%)", "difference", "95 % low", "95 % high", "p", "p after Holm"),
    ]
    lines = [
        (
            row.strategy,
            row.data,
            row.encoder,
            row.learner,
            "few seeds" if row.verdict.startswith("cannot") else row.verdict.partition(":")[0],
            row.budget,
            row.seeds,
            f"{100 * row.mean:.1f}",
            f"{100 * row.against:.1f}",
            *map(points, (row.difference, row.low, row.high)),
            *("–" if math.isnan(p) else f"{p:.2g}" for p in (row.p, row.p_holm)),
        )
        for row in rows
    ]
    body = folded(f"{len(lines):,} comparisons", table("comparisons", header, lines, numbers=9, sortable=True))
    return Section("Every comparison", "", body, [], scripts=[SORT])


def _left_out(rows: pd.DataFrame) -> Section | None:
    failures = rows[rows["status"] != "ok"]
    if not len(failures):
        return None
    lines = []
    for (status, error), cells in failures.groupby(["status", "error"], sort=False):
        names = ", ".join(dict.fromkeys(f"{row.strategy} on {row.data}" for row in cells.itertuples()))
        lines.append(f"{status}: {len(cells):,} cells ({names}): {error}")
    return Section("What is missing", "", bullets(lines), [])
