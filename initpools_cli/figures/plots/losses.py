"""Training curves of pretraining runs: loss and feature quality by epoch."""

from __future__ import annotations

from typing import Any, NamedTuple

from initpools_cli.core.errors import UserError
from initpools_cli.core.types import DataFrame, Figure
from initpools_cli.figures.escape import percent, plotly_text, shortened
from initpools_cli.figures.facets import axis_name, complete, faceted
from initpools_cli.figures.registry import plots
from initpools_cli.figures.theme import headline, style

# With more points than this, markers hide the line.
MOST_MARKERS = 20


class Quantity(NamedTuple):
    """A column of the log, how its panel is called and how its values are written."""

    column: str
    title: str
    tickformat: str
    hover: str


MEASURED = (
    Quantity("knn_accuracy", "k-NN accuracy (%)", "~%", ".1%"),
    Quantity("rank", "RankMe (directions)", "", ".1f"),
)


@plots.register()
def losses(logs: DataFrame) -> Figure:
    """Loss, k-NN accuracy and RankMe of every pretrain over its epochs; a panel per quantity, a color per pretrain.

    Losses of different tasks are of different kinds, so each task has a panel of its own.

    Parameters
    ----------
    logs : DataFrame
        Columns pretrain, task, epoch and loss and, where they were measured, knn_accuracy and rank; NaN in epochs
        without.

    Raises
    ------
    UserError
        There is no epoch to draw.
    """
    if logs.empty:
        raise UserError(
            "No pretrain has a finished epoch to draw.", "Train one with `initpools pretrain simclr`.", "No pretrain"
        )
    names = [str(name) for name in dict.fromkeys(logs["pretrain"])]
    panels = [(Quantity("loss", f"loss of {task}", "", ".4f"), part) for task, part in logs.groupby("task", sort=False)]
    quantities = [each for each in MEASURED if each.column in logs and logs[each.column].notna().any()]
    panels += [(each, logs) for each in quantities]
    figure = faceted(
        [f"<b>{plotly_text(shortened(quantity.title))}</b>" for quantity, _ in panels],
        x_title="epoch",
        y_title="",
        height=260,
    )
    # Epochs are whole numbers.
    figure.update_xaxes(tickformat="d", dtick=1 if logs["epoch"].max() <= 10 else None)
    legend_names: set[str] = set()
    for i, (quantity, part) in enumerate(panels):
        y = axis_name("y", i)
        figure.update_yaxes(tickformat=quantity.tickformat, selector={"anchor": axis_name("x", i)})
        for name in names:
            line = part[(part["pretrain"] == name) & part[quantity.column].notna()]
            if line.empty:
                continue
            look = style(names.index(name))
            figure.add_scatter(
                x=line["epoch"].to_numpy(),
                y=line[quantity.column].to_numpy(),
                mode="lines+markers" if len(line) <= MOST_MARKERS else "lines",
                line={"color": look.color, "dash": look.dash, "width": 2},
                marker={"color": look.color, "symbol": look.symbol, "size": 6},
                name=plotly_text(shortened(name)),
                legendgroup=plotly_text(name),
                showlegend=name not in legend_names,
                hovertemplate="<b>%{fullData.name}</b><br>epoch %{x}<br>%{y:" + quantity.hover + "}<extra></extra>",
                xaxis=axis_name("x", i),
                yaxis=y,
            )
            legend_names.add(name)
    parts = ["Losses of different tasks can't be compared."] if len(panels) - len(quantities) > 1 else []
    if quantities:
        parts.append("Accuracy and rank are measured on some of the images and not used for any choice.")
    headline(figure, "How pretraining went", " ".join(parts))
    words = [_in_words(name, logs[logs["pretrain"] == name], quantities) for name in names]
    return complete(figure, ["Line charts over the epochs of every pretrain.", *words])


def _in_words(name: str, log: DataFrame, quantities: list[Quantity]) -> str:
    first, last = log.iloc[0], log.iloc[-1]
    text = f"{name}: loss {first['loss']:.4f} in epoch {first['epoch']}, {last['loss']:.4f} in epoch {last['epoch']}"
    for quantity in quantities:
        values = log[quantity.column].dropna()
        if len(values):
            value: Any = values.iloc[-1]
            text += (
                f"; {quantity.title.split(' (')[0]} {percent(value) if quantity.tickformat else f'{value:.1f}'} last"
            )
    return text + "."
