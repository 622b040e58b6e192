"""Time and memory of strategies by number of images."""

from __future__ import annotations

import math
from typing import NamedTuple

from initpools_cli.core.bounds import PositiveCount, PositiveFactor
from initpools_cli.core.errors import UserError
from initpools_cli.core.types import DataFrame, Figure
from initpools_cli.figures.escape import plotly_text, shortened
from initpools_cli.figures.facets import axis_name, complete, faceted
from initpools_cli.figures.registry import plots
from initpools_cli.figures.theme import headline, series
from initpools_cli.stats.scaling import exponent

MEGABYTE = 1e6


class Quantity(NamedTuple):
    """A column of the measurements: its heading, its unit and how much that is, and the least that is no noise."""

    column: str
    title: str
    unit: str
    of_one: float
    floor: float


QUANTITIES = (
    Quantity("seconds", "Time", "s", 1.0, 0.002),
    Quantity("bytes", "Memory at the peak", "MB", MEGABYTE, MEGABYTE),
)


@plots.register(table="measured")
def cost(
    measured: DataFrame,
    *,
    strategies: str = "random,kmeans,kcenter,typiclust,probcover,maxherding",
    budget: PositiveCount = 50,
    seconds: PositiveFactor = 2.0,
) -> Figure:
    """Time and peak memory of strategies, measured here on more and more images; both axes logarithmic.

    Parameters
    ----------
    measured : DataFrame
        Columns strategy, n, d, budget, threads, seconds and bytes (NaN where memory could not be measured).
    strategies : str
        Which to measure, with commas between; "" measures all that embeddings alone are enough for.
    budget : int
        Images that each chooses.
    seconds : float
        The number of images doubles while a strategy takes less than this.

    Raises
    ------
    UserError
        Nothing was measured.
    """
    if measured.empty:
        raise UserError(
            "No strategy was measured.", "Name at least one with --name, for example --name kcenter.", "No strategy"
        )
    names = list(dict.fromkeys(map(str, measured["strategy"])))
    quantities = [each for each in QUANTITIES if measured[each.column].notna().any()]
    figure = faceted(
        [f"<b>{each.title}</b> ({each.unit})" for each in quantities],
        x_title="images to choose from (logarithmic)",
        y_title="",
        columns=2,
        height=360,
        same_x=True,
    )
    # Plotly may choose no ticks, or so many that they overlap.
    sizes = sorted(map(int, measured["n"].unique()))
    figure.update_xaxes(type="log", tickvals=sizes, ticktext=[f"{size:,}" for size in sizes])
    figure.update_yaxes(type="log", tickformat="~g")
    looks, powers = series(names), {name: _powers(measured[measured["strategy"] == name]) for name in names}
    for i, quantity in enumerate(quantities):
        values = measured.loc[measured[quantity.column] > 0, quantity.column]
        dtick = "D2" if values.max() > 10 * values.min() else None
        figure.update_yaxes(dtick=dtick, selector={"anchor": axis_name("x", i)})
        for name in names:
            own, look = measured[measured["strategy"] == name], looks[name]
            # Strategies that took no additional memory have no place on a logarithmic axis.
            own = own[own[quantity.column] > 0]
            figure.add_scatter(
                x=own["n"].to_numpy(),
                y=own[quantity.column].to_numpy() / quantity.of_one,
                mode="lines+markers",
                line={"color": look.color, "dash": look.dash, "width": 2},
                marker={"color": look.color, "symbol": look.symbol, "size": 8},
                name=plotly_text(shortened(name)) + _short(powers[name]["seconds"]),
                legendgroup=plotly_text(name),
                showlegend=i == 0,
                hovertemplate="<b>%{fullData.name}</b><br>%{x:,} images<br>%{y:.3~g} "
                + quantity.unit
                + "<extra></extra>",
                xaxis=axis_name("x", i),
                yaxis=axis_name("y", i),
            )
    budget, d, threads = (int(measured[column].iloc[0]) for column in ("budget", "d", "threads"))
    headline(
        figure,
        f"What it costs to choose {budget} images",
        f"Measured on one machine, {threads} thread{'s' * (threads != 1)}, {d} dimensions. In the legend: the power of "
        "n that time grows with at the largest sizes."
        + ("" if len(quantities) > 1 else " Memory is measured on Linux only."),
    )
    return complete(
        figure, ["Line charts, both axes logarithmic.", *(_in_words(measured, n, powers[n]) for n in names)]
    )


def _powers(own: DataFrame) -> dict[str, float]:
    """The power of n that each quantity grows with."""
    return {each.column: exponent(own["n"], own[each.column], each.floor) for each in QUANTITIES}


def _short(power: float) -> str:
    return "" if math.isnan(power) else f", n^{power:.1f}"


def _in_words(measurements: DataFrame, name: str, powers: dict[str, float]) -> str:
    last = measurements[measurements["strategy"] == name].iloc[-1]
    parts = []
    for each in QUANTITIES:
        if not math.isnan(last[each.column]):
            power = powers[each.column]
            how = "too little to say how it grows" if math.isnan(power) else f"growing as n^{power:.2f}"
            parts.append(f"{last[each.column] / each.of_one:.3g} {each.unit} ({how})")
    return f"{name} among {last['n']:,} images: {' and '.join(parts)}."
