"""Learning curves: accuracy against labeled images for each first pool."""

from __future__ import annotations

import math
from itertools import groupby
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from initpools_cli.core.errors import UserError
from initpools_cli.core.types import DataFrame, Figure
from initpools_cli.figures.escape import percent, plotly_text
from initpools_cli.figures.facets import axis_name, complete, faceted
from initpools_cli.figures.registry import plots
from initpools_cli.figures.theme import Style, headline, series, translucent
from initpools_cli.stats.learning_curves import CurvePoint, failures, points_of, summarize
from initpools_cli.stats.metric_names import Metric, chosen_metric


class Quantity(NamedTuple):
    """The title, the axis and the number format of a metric."""

    title: str
    axis: str
    tickformat: str
    share: bool


QUANTITIES = {
    "accuracy": Quantity("Accuracy", "accuracy (%)", "~%", True),
    "balanced_accuracy": Quantity("Balanced accuracy", "balanced accuracy (%)", "~%", True),
    "rare_recall": Quantity("Recall of the rarest third of the classes", "recall of rare classes (%)", "~%", True),
    "auc": Quantity("Area under the ROC curve", "macro AUC (fraction)", "", False),
    "mean_average_precision": Quantity("Mean average precision", "mean average precision (fraction)", "", False),
    "micro_f1": Quantity("Micro F1", "micro F1 (fraction)", "", False),
    "macro_f1": Quantity("Macro F1", "macro F1 (fraction)", "", False),
    "nll": Quantity("Negative log-likelihood", "negative log-likelihood (nats)", "", False),
    "ece": Quantity("Expected calibration error", "calibration error (%)", "~%", True),
}


@plots.register()
def curves(
    rounds: DataFrame,
    *,
    metric: Literal[Metric, "nll", "ece"] = "primary",
    level: Annotated[float, Field(gt=0, lt=1)] = 0.95,
) -> Figure:
    """Mean over seeds with its confidence band against labeled images; a panel per query, a color per first pool.

    Parameters
    ----------
    rounds : DataFrame
        Rows of ``rounds.csv``.
    metric : str
        What to draw; "primary": accuracy, where class counts differ more than tenfold balanced accuracy, or with
        several labels per image the macro AUC.
    level : float
        Coverage of the band (Student's t over seeds); where seeds do not vary there is none.

    Raises
    ------
    UserError
        No cell has a value of that metric.
    """
    metric_name = chosen_metric(metric, rounds.columns)
    quantity = QUANTITIES[metric_name]
    points = [point for point in points_of(summarize(rounds, metric_name, level)) if point.n_seeds]
    if not points:
        raise UserError(
            f"None of the {len(rounds)} results has a value of '{metric_name}'.",
            "Choose another with --set metric=NAME, or look at the errors in rounds.csv.",
            metric_name,
        )
    lines: dict[tuple[str, Panel], list[CurvePoint]] = {}
    for point in points:
        lines.setdefault((point.init, Panel(point.query, point.learner, point.encoder)), []).append(point)
    inits = list(dict.fromkeys(init for init, _ in lines))
    headings = _headings(list(dict.fromkeys(panel for _, panel in lines)))
    # Curves of one point would overlap, so first pools without later rounds are drawn side by side.
    single = all(len(line) == 1 for line in lines.values())
    figure = faceted(
        [f"<b>{plotly_text(heading)}</b>" for heading in headings.values()],
        x_title="first pool" if single else "labeled images",
        y_title=quantity.axis,
        height=300 if len(headings) > 1 else 400,
        same_x=True,
        same_y=True,
    )
    figure.update_yaxes(tickformat=quantity.tickformat)
    looks, legend_names = series(inits), set[str]()
    # Many bands over each other hide the lines.
    bands = 0.16 if len(inits) <= 4 else 0.07
    for (init, panel), line in lines.items():
        i = list(headings).index(panel)
        place: dict[str, object] = {
            "xaxis": axis_name("x", i),
            "yaxis": axis_name("y", i),
            "legendgroup": plotly_text(init),
        }
        x = [plotly_text(init)] if single else [point.labeled for point in line]
        place["showlegend"] = init not in legend_names and not single
        _draw(figure, x, line, looks[init], bands, level, quantity, place)
        legend_names.add(init)
    headline(figure, f"{quantity.title} against labeled images", _subtitle(points, rounds, level))
    words = [
        f"{headings[panel]}; first pool {init}: {_value(line[-1].mean, quantity)} at {line[-1].labeled} labels "
        f"({_interval(line[-1], level, quantity)}; {_seeds(line[-1].n_seeds, line[-1].n_failed)})."
        for (init, panel), line in lines.items()
    ]
    count = f"{len(headings)} panel{'s' * (len(headings) != 1)}"
    lead = f"Line chart, {count}: {quantity.axis} against labeled images. Where each line ends:"
    return complete(figure, [lead, *words])


class Panel(NamedTuple):
    """The setting of one panel."""

    query: str
    learner: str
    encoder: str


def _headings(panels: list[Panel]) -> dict[Panel, str]:
    """The heading of every panel: its query, and the other settings in which panels differ."""
    many_learners = len({panel.learner for panel in panels}) > 1
    many_encoders = len({panel.encoder for panel in panels}) > 1
    headings = {}
    for panel in panels:
        parts = [f"query: {panel.query}" if panel.query else "first pools"]
        parts += [panel.learner] if many_learners else []
        parts += [panel.encoder or "no encoder"] if many_encoders else []
        headings[panel] = " · ".join(parts)
    return headings


def _draw(
    figure: Figure,
    x: list[Any],
    line: list[CurvePoint],
    look: Style,
    bands: float,
    level: float,
    quantity: Quantity,
    place: dict[str, object],
) -> None:
    """The band of one curve, where it has one, and over it the curve."""
    runs = [run for run in _runs(line) if len(run) > 1]
    if runs:
        figure.add_scatter(
            x=_gapped([[p.labeled for p in run] + [p.labeled for p in reversed(run)] for run in runs]),
            y=_gapped([[p.high for p in run] + [p.low for p in reversed(run)] for run in runs]),
            mode="lines",
            line={"width": 0, "color": look.color},
            fill="toself",
            fillcolor=translucent(look.color, bands),
            hoverinfo="skip",
            name=f"{plotly_text(line[0].init)} ({100 * level:g} % CI)",
            **{**place, "showlegend": False},
        )
    # An interval without a neighbor makes no band: it is a whisker.
    alone = {run[0].labeled for run in _runs(line) if len(run) == 1}
    figure.add_scatter(
        x=x,
        y=[p.mean for p in line],
        mode="lines+markers",
        line={"color": look.color, "dash": look.dash, "width": 2},
        marker={"color": look.color, "symbol": look.symbol, "size": 7},
        error_y={
            "visible": bool(alone),
            "thickness": 1.5,
            "array": [p.high - p.mean if p.labeled in alone else 0.0 for p in line],
        },
        name=plotly_text(line[0].init),
        customdata=[[p.labeled, _interval(p, level, quantity), _seeds(p.n_seeds, p.n_failed)] for p in line],
        hovertemplate="<b>%{fullData.name}</b><br>%{customdata[0]} labeled images<br>mean %{y:"
        + (".1%" if quantity.share else ".4f")
        + "}<br>%{customdata[1]}<br>%{customdata[2]}<extra></extra>",
        **place,
    )


def _runs(line: list[CurvePoint]) -> list[list[CurvePoint]]:
    """The unbroken stretches of a curve that have an interval."""
    stretches = groupby(line, key=lambda p: not math.isnan(p.low))
    return [list(points) for has_interval, points in stretches if has_interval]


def _gapped(outlines: list[list[Any]]) -> list[Any]:
    """Several outlines as one list, with a gap between them."""
    return [value for i, outline in enumerate(outlines) for value in ([None] if i else []) + outline]


def _value(value: float, quantity: Quantity) -> str:
    return percent(value) if quantity.share else f"{value:.3f}"


def _interval(point: CurvePoint, level: float, quantity: Quantity) -> str:
    if math.isnan(point.low):
        return "no interval: " + ("one seed" if point.n_seeds < 2 else "the seeds do not vary")
    return f"{100 * level:g} % CI {_value(point.low, quantity)} to {_value(point.high, quantity)}"


def _seeds(n_seeds: int, n_failed: int) -> str:
    return f"{n_seeds} seed{'s' * (n_seeds != 1)}" + (f", {n_failed} failed" if n_failed else "")


def _subtitle(points: list[CurvePoint], rounds: DataFrame, level: float) -> str:
    fewest, most = min(p.n_seeds for p in points), max(p.n_seeds for p in points)
    over = _seeds(most, 0) if fewest == most else f"{fewest} to {most} seeds"
    parts = [f"Mean of {over}; band: {100 * level:g} % t-interval of the mean."]
    if any(math.isnan(p.low) for p in points):
        parts.append("No band where there is one seed or seeds do not vary.")
    n_failed = len(failures(rounds))
    if n_failed:
        parts.append(f"{n_failed} failed result{'s' * (n_failed != 1)} left out of the means.")
    if "leaks" in rounds and (rounds["leaks"].fillna(0) > 0).any():
        parts.append("Some results read labels that were not bought.")
    return " ".join(parts)
