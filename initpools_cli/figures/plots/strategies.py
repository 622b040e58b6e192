"""Accuracy of first pools and of random ones, by number of labels."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple, cast

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.types import DataFrame, Figure
from initpools_cli.figures.escape import percent, plotly_text
from initpools_cli.figures.facets import axis_name, complete, faceted
from initpools_cli.figures.registry import plots
from initpools_cli.figures.theme import NEUTRAL, Style, headline, series, translucent
from initpools_cli.stats.learning_curves import CURVE, with_shared_start
from initpools_cli.stats.metric_names import Metric, chosen_metric
from initpools_cli.stats.verdicts import values_of

#: Width of the marks of one number of labels as a share of the distance to the next; that distance if there is none.
SLOT, ALONE = 0.8, 0.3
GOLDEN = 0.618034


class Mark(NamedTuple):
    """A strategy at a number of labels: mean and deviation over seeds, NaN for one seed, and its place among the random
    pools there, the share of them that are below its mean (NaN where there are none).
    """

    init: str
    labeled: int
    seeds: int
    mean: float
    deviation: float
    above: float


@plots.register()
def strategies(
    rounds: DataFrame,
    *,
    metric: Metric = "primary",
    query: str = "",
) -> Figure:
    """Every random pool as a gray dot, each strategy's mean and deviation beside them; a panel per learner and encoder.

    Parameters
    ----------
    rounds : DataFrame
        Rows of ``rounds.csv`` of sweeps with different first budgets, and the column sweep.
    metric : str
        What to draw.
    query : str
        Draw the rounds that this query follows with, too; "" draws first pools alone.

    Raises
    ------
    UserError
        No cell has a value, or no such query.
    """
    metric_name = chosen_metric(metric, rounds.columns)
    cells = _cells(rounds, metric_name, query)
    panels = {
        f"{learner} · {encoder or 'no encoder'}": group
        for (learner, encoder), group in cells.groupby(["learner", "encoder"], sort=False)
    }
    names = [name for name in dict.fromkeys(map(str, cells["init"])) if name != "random"]
    looks = series(names)
    levels = sorted(map(int, cells["labeled"].unique()))
    slot = SLOT * min([float(np.log10(b / a)) for a, b in pairwise(levels)] or [ALONE])
    several = len(panels) > 1
    figure = faceted(
        [f"<b>{plotly_text(heading)}</b>" if several else "" for heading in panels],
        x_title="labeled images (logarithmic)",
        y_title=f"{metric_name.replace('_', ' ')} (%)",
        columns=2,
        height=340 if several else 460,
        same_y=True,
    )
    figure.update_yaxes(tickformat="~%")
    # The same range on every panel, and not `same_x`: Plotly finds no range for y where x has one and both are shared.
    ends = [float(np.log10(levels[0])) - 0.6 * slot, float(np.log10(levels[-1])) + 0.6 * slot]
    figure.update_xaxes(type="log", tickvals=levels, ticktext=[str(level) for level in levels], range=ends)
    words, legend_names = [], set[str]()
    for i, (heading, group) in enumerate(panels.items()):
        place = {"xaxis": axis_name("x", i), "yaxis": axis_name("y", i)}
        random, marks = group[group["init"] == "random"], _marks(group)
        _cloud(figure, random, slot, place, legend_names)
        for at, name in enumerate(names):
            own = [mark for mark in marks if mark.init == name]
            _strategy(figure, own, looks[name], slot * ((at + 0.5) / len(names) - 0.5), place, legend_names)
        words += [_in_words(heading if several else "", level, marks) for level in levels]
    counts = sorted({mark.seeds for group in panels.values() for mark in _marks(group)})
    seeds = f"{counts[0]} to {counts[-1]} seeds" if len(counts) > 1 else f"{counts[0]} seed{'s' * (counts[0] != 1)}"
    after = f"first pools and what '{query}' adds to them" if query else "first pools"
    gray = f"Gray: each random pool{' with random queries' if query else ''}, and their mean (line). "
    headline(
        figure,
        f"{metric_name.replace('_', ' ').capitalize()} of {after}",
        (gray if (cells["init"] == "random").any() else "No sweep has random pools. ")
        + f"Marks: mean over {seeds}; bars: one standard deviation. Whether a difference is more than noise is "
        "shown by `initpools compare`.",
    )
    return complete(figure, ["Marks with bars, beside dots for random pools.", *filter(None, words)])


def _cells(rounds: DataFrame, metric: str, query: str) -> DataFrame:
    """One value a cell and number of labels; sweeps that share random pools have them once."""
    import pandas as pd

    parts = []
    for _, sweep in rounds.groupby("sweep", sort=False):
        if not query:
            parts.append(values_of(sweep, metric, "first pool"))
            continue
        rows = with_shared_start(sweep)
        query_of = np.where(rows["init"] == "random", "random", query)
        parts.append(rows[(rows["query"] == query_of) & (rows["status"] == "ok")].assign(value=lambda at: at[metric]))
    cells = pd.concat(parts, ignore_index=True)
    if query and not (cells["query"] == query).any():
        queries = list(dict.fromkeys(str(each) for each in rounds["query"] if each == each and each != ""))
        remedy = (
            f"The sweeps have {', '.join(queries)}: type --set query={queries[0]}."
            if queries
            else "Run one with --rounds 1 or more."
        )
        raise UserError(f"No sweep uses the query '{query}'.", remedy, query)
    cells = cells.dropna(subset=["value"]).drop_duplicates([*CURVE, "seed", "labeled", "value"])
    if cells.empty:
        raise UserError(
            f"None of the {len(rounds)} results has a value of '{metric}'.",
            "Choose another metric, or look at the errors in rounds.csv.",
            metric,
        )
    return cells


def _marks(group: DataFrame) -> list[Mark]:
    """Marks of every strategy at every number of labels; random first, the others in the order of the rows."""
    random, marks = group[group["init"] == "random"], []
    for (init, labeled), part in group.groupby(["init", "labeled"], sort=False):
        level, values, mean = int(cast("int", labeled)), part["value"], float(part["value"].mean())
        rivals = random.loc[random["labeled"] == level, "value"]
        above = float((rivals < mean).mean())
        marks.append(Mark(str(init), level, len(values), mean, float(values.std(ddof=1)), above))
    return sorted(marks, key=lambda mark: mark.init != "random")


def _cloud(figure: Figure, random: DataFrame, slot: float, place: dict[str, str], legend_names: set[str]) -> None:
    """Draw every random pool, spread over the width of the marks of the strategies, and their mean as a line."""
    for level, part in random.groupby("labeled"):
        middle = np.log10(float(cast("int", level)))
        offsets = (np.arange(1, len(part) + 1) * GOLDEN) % 1 - 0.5
        figure.add_scatter(
            x=10 ** (middle + slot * offsets),
            y=part["value"].to_numpy(),
            mode="markers",
            marker={"color": translucent(NEUTRAL, 0.45), "size": 6},
            name="random pools",
            legendgroup="random",
            showlegend="random" not in legend_names,
            customdata=part[["labeled", "seed"]].to_numpy(),
            hovertemplate="random pool, seed %{customdata[1]}<br>%{customdata[0]} labels: %{y:.1%}<extra></extra>",
            **place,
        )
        figure.add_scatter(
            x=10 ** (middle + slot * np.array([-0.5, 0.5])),
            y=[part["value"].mean()] * 2,
            mode="lines",
            line={"color": NEUTRAL, "width": 2},
            name="mean of the random pools",
            legendgroup="random mean",
            showlegend="random" not in legend_names,
            hoverinfo="skip",
            **place,
        )
        legend_names.add("random")


def _strategy(
    figure: Figure, marks: list[Mark], look: Style, offset: float, place: dict[str, str], legend_names: set[str]
) -> None:
    if not marks:
        return
    name = marks[0].init
    figure.add_scatter(
        x=[mark.labeled * 10**offset for mark in marks],
        y=[mark.mean for mark in marks],
        error_y={"array": [mark.deviation for mark in marks], "thickness": 1.5, "width": 0, "color": look.color},
        mode="markers",
        marker={"color": look.color, "symbol": look.symbol, "size": 9},
        name=plotly_text(name),
        legendgroup=plotly_text(name),
        showlegend=name not in legend_names,
        customdata=[[_value(mark)] for mark in marks],
        hovertemplate="<b>%{fullData.name}</b><br>%{customdata[0]}<extra></extra>",
        **place,
    )
    legend_names.add(name)


def _value(mark: Mark) -> str:
    text = f"{mark.labeled} labels: {percent(mark.mean)}"
    text += f" ± {100 * mark.deviation:.1f}" if mark.seeds > 1 else ""
    text += f", {mark.seeds} seed{'s' * (mark.seeds != 1)}"
    return text + (f", above {percent(mark.above)} of the random pools" if mark.above == mark.above else "")


def _in_words(heading: str, level: int, marks: list[Mark]) -> str:
    here = sorted((mark for mark in marks if mark.labeled == level), key=lambda mark: -mark.mean)
    if not here:
        return ""
    text = "; ".join(
        f"{mark.init} {percent(mark.mean)}" + (f" ± {100 * mark.deviation:.1f}" if mark.seeds > 1 else "")
        for mark in here
    )
    return f"{heading + ', ' if heading else ''}{level} labels: {text}."
