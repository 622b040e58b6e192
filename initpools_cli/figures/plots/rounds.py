"""Accuracy after each labeling round, by labels and by minutes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from initpools_cli.core.types import DataFrame, Figure
from initpools_cli.figures.escape import percent
from initpools_cli.figures.facets import axis_name, complete, faceted
from initpools_cli.figures.registry import plots
from initpools_cli.figures.theme import headline, style


class Estimate(NamedTuple):
    """An estimate of the accuracy: its columns, and its name in the legend."""

    column: str
    low: str
    high: str
    name: str


ESTIMATES = (
    Estimate("audit_accuracy", "audit_low", "audit_high", "audit sample"),
    Estimate("accuracy", "low", "high", "cross-validated"),
    Estimate("test_accuracy", "test_low", "test_high", "test split"),
)
#: The columns of the horizontal axes, and the heading of each panel.
AXES = {"labeled": "by labeled images", "minutes": "by minutes of labeling"}


@plots.register()
def rounds(rounds: DataFrame) -> Figure:
    """Accuracy after each labeling round with its 95 % interval, by labels and, where times are known, by minutes.

    Parameters
    ----------
    rounds : DataFrame
        One row per round: columns round, labeled, minutes, and accuracy, low, high; the same with ``audit_`` and
        ``test_`` in front; NaN where unknown.
    """
    axes = [axis for axis in AXES if axis in rounds and rounds[axis].notna().any()]
    kinds = [each for each in ESTIMATES if each.column in rounds and rounds[each.column].notna().any()]
    figure = faceted(
        [f"<b>{AXES[axis]}</b>" for axis in axes], x_title="", y_title="accuracy (%)", columns=2, same_y=True
    )
    figure.update_yaxes(tickformat="~%", rangemode="tozero")
    figure.update_xaxes(rangemode="tozero")
    for i, axis in enumerate(axes):
        for estimate in kinds:
            rows = rounds[rounds[estimate.column].notna() & rounds[axis].notna()]
            look, value = style(ESTIMATES.index(estimate)), rows[estimate.column]
            figure.add_scatter(
                x=rows[axis].to_numpy(),
                y=value.to_numpy(),
                error_y={
                    "type": "data",
                    "symmetric": False,
                    "array": (rows[estimate.high] - value).to_numpy(),
                    "arrayminus": (value - rows[estimate.low]).to_numpy(),
                    "thickness": 1.5,
                },
                customdata=rows[["round", estimate.low, estimate.high]].to_numpy(),
                mode="lines+markers",
                line={"color": look.color, "dash": look.dash, "width": 2},
                marker={"color": look.color, "symbol": look.symbol, "size": 8},
                name=estimate.name,
                legendgroup=estimate.name,
                showlegend=i == 0,
                hovertemplate="<b>%{fullData.name}</b><br>round %{customdata[0]}<br>%{y:.1%} (%{customdata[1]:.1%} to "
                "%{customdata[2]:.1%})<extra></extra>",
                xaxis=axis_name("x", i),
                yaxis=axis_name("y", i),
            )
    headline(figure, "Accuracy by round", "Bars are 95 % intervals. Labels that you chose yourself do not count.")
    return complete(figure, ["Line charts with an interval for each round.", *_in_words(rounds, kinds)])


def _in_words(rounds: DataFrame, kinds: list[Estimate]) -> list[str]:
    lines = []
    for row in rounds.to_dict("records"):
        estimates = [
            f"{each.name} {percent(row[each.column])} ({percent(row[each.low])} to {percent(row[each.high])})"
            for each in kinds
            if np.isfinite(row[each.column])
        ]
        lines.append(f"Round {row['round']}, {row['labeled']:,} labels: {', '.join(estimates) or 'no accuracy'}.")
    return lines
