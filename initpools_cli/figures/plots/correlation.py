"""Correlation between a property of first pools and later accuracy."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, NamedTuple, cast

import numpy as np
from pydantic import Field

from initpools_cli.core.errors import UserError
from initpools_cli.core.types import DataFrame, Figure
from initpools_cli.figures.escape import plotly_text, shortened
from initpools_cli.figures.facets import axis_name, complete, faceted
from initpools_cli.figures.registry import plots
from initpools_cli.figures.theme import NEUTRAL, PAGES, Style, headline, series
from initpools_cli.stats.correlation import FEWEST, Correlation, correlation
from initpools_cli.stats.metric_names import Metric

PANEL = ["sweep", "query", "learner", "encoder", "labeled"]


class Panel(NamedTuple):
    """The setting of one panel."""

    sweep: str
    query: str
    learner: str
    encoder: str
    labeled: int


@plots.register("correlation")
def correlations(
    pairs: DataFrame,
    *,
    of: Annotated[str, Field(min_length=1)] = "first",
    metric: Metric = "primary",
    at: Literal["last", "every"] = "last",
) -> Figure:
    """First-round accuracy, or a score's mean over the first pool, against later accuracy; a panel per query.

    Parameters
    ----------
    pairs : DataFrame
        Columns sweep, init, query, learner, encoder, seed, labeled, start and later: what the first pool is like, and
        the metric at that number of labels.
    of : str
        What first pools are measured by: "first", the metric that they give, or the name of a score.
    metric : str
        What they lead to.
    at : str
        Labels at which to look: the "last" of each query, or "every" one.

    Raises
    ------
    UserError
        There is no pair.
    """
    metric_name = str(pairs["metric"].iloc[0]) if "metric" in pairs and len(pairs) else metric
    pairs = pairs.dropna(subset=["start", "later"])
    if pairs.empty:
        raise UserError(
            "No result of the sweep has both a first pool and a later round.",
            "Run it with --rounds 1 or more.",
            "No result",
        )
    groups = {Panel(*cast("Any", name)): group for name, group in pairs.groupby(PANEL, sort=False)}
    last = pairs.groupby(PANEL[:-1], sort=False)["labeled"].transform("max")
    panel_keys = set(pairs.loc[(pairs["labeled"] == last) | (at == "every"), PANEL].itertuples(index=False, name=None))
    panels = [panel for panel in groups if tuple(panel) in panel_keys]
    facts = {panel: Facts.of(group) for panel, group in groups.items()}
    titles = _titles(list(groups))
    x_title = f"{metric_name.replace('_', ' ')} of the first pool" if of == "first" else f"mean {of} of the first pool"
    figure = faceted(
        [f"<b>{plotly_text(shortened(titles[panel], 44))}</b><br>{facts[panel].heading}" for panel in panels],
        x_title=plotly_text(x_title),
        y_title=f"{metric_name.replace('_', ' ')} later",
        height=300 if len(panels) > 1 else 420,
        same_x=len({panel.sweep for panel in panels}) == 1,
    )
    figure.update_yaxes(tickformat="~%")
    if of == "first":
        figure.update_xaxes(tickformat="~%")
    looks = series(list(dict.fromkeys(map(str, pairs["init"]))))
    legend_names: set[str] = set()
    for i, panel in enumerate(panels):
        _draw(figure, groups[panel], looks, {"xaxis": axis_name("x", i), "yaxis": axis_name("y", i)}, legend_names)
    headline(
        figure,
        f"Properties of first pools ({'first-round ' + metric_name if of == 'first' else of}) and later accuracy",
        "Small dots: first pools of single seeds. Large marks: means over seeds. Several seeds of one strategy do not "
        "compare strategies, so r is that of the means, and that of the random pools alone, with 95 % intervals; p is "
        "not corrected.",
    )
    words = [f"{titles[panel]}: {facts[panel].words}." for panel in groups]
    return complete(figure, [f"Scatter plots: {x_title} against {metric_name.replace('_', ' ')} later.", *words])


class Facts(NamedTuple):
    """Correlation between the strategies' means, and over the random pools."""

    between: Correlation
    random: Correlation | None

    @classmethod
    def of(cls, group: DataFrame) -> Facts:
        """Compute the correlations of the pairs of one panel."""
        means, random = _means(group), group[group["init"] == "random"]
        between = correlation(means["start"], means["later"])
        return cls(between, correlation(random["start"], random["later"]) if len(random) else None)

    @property
    def heading(self) -> str:
        """The correlations in two short lines."""
        lines = [f"means: {_brief(self.between)}"]
        lines += [f"random pools: {_brief(self.random)}"] if self.random else []
        return "<br>".join(lines)

    @property
    def words(self) -> str:
        """The correlations in full."""
        text = f"means of {self.between.pairs} first pools, {_full(self.between)}"
        return text + (f"; {self.random.pairs} random pools, {_full(self.random)}" if self.random else "")


def _means(group: DataFrame) -> DataFrame:
    return group.groupby("init", sort=False)[["start", "later"]].mean()


def _brief(of: Correlation) -> str:
    if math.isnan(of.pearson):
        return _why(of)
    return f"r {of.pearson:.2f} ({of.pearson_low:.2f} to {of.pearson_high:.2f}), p {_p(of.pearson_p)}"


def _full(of: Correlation) -> str:
    if math.isnan(of.pearson):
        return _why(of)
    return (
        f"Pearson r = {of.pearson:.2f} ({of.pearson_low:.2f} to {of.pearson_high:.2f}, p = {_p(of.pearson_p)}), "
        f"Spearman {of.spearman:.2f} ({of.spearman_low:.2f} to {of.spearman_high:.2f}, p = {_p(of.spearman_p)})"
    )


def _why(of: Correlation) -> str:
    return f"no r: {of.pairs} are too few" if of.pairs < FEWEST else "no r: they don't vary"


def _p(p: float) -> str:
    return f"{p:.2g}" if p >= 0.001 else "<0.001"


def _titles(panels: list[Panel]) -> dict[Panel, str]:
    """The title of every panel: the settings in which panels differ."""
    many = {field for field in ("sweep", "learner", "encoder") if len({getattr(each, field) for each in panels}) > 1}
    titles = {}
    for panel in panels:
        parts = [panel.sweep] if "sweep" in many else []
        parts += [f"query {panel.query}" if panel.query else "first pools"]
        parts += [getattr(panel, field) or f"no {field}" for field in ("learner", "encoder") if field in many]
        titles[panel] = " · ".join([*parts, f"{panel.labeled} labels"])
    return titles


def _draw(
    figure: Figure, group: DataFrame, looks: dict[str, Style], place: dict[str, str], legend_names: set[str]
) -> None:
    """The dots of one panel, the line of its random pools and that of the means, and the means over all of it."""
    means = _means(group)
    for init, part in group.groupby("init", sort=False):
        look = looks[str(init)]
        figure.add_scatter(
            x=part["start"].to_numpy(),
            y=part["later"].to_numpy(),
            mode="markers",
            marker={"color": look.color, "symbol": look.symbol, "size": 5, "opacity": 0.4},
            name=plotly_text(init),
            legendgroup=plotly_text(init),
            showlegend=False,
            customdata=part["seed"].to_numpy(),
            hovertemplate="<b>%{fullData.name}</b>, seed %{customdata}<br>%{x:.4~g} → %{y:.1%}<extra></extra>",
            **place,
        )
    _line(figure, group[group["init"] == "random"], "line of the random pools", "solid", place, legend_names)
    _line(figure, means, "line of the means", "dash", place, legend_names)
    for init, x, y in zip(map(str, means.index), means["start"], means["later"], strict=True):
        look = looks[init]
        figure.add_scatter(
            x=[x],
            y=[y],
            mode="markers",
            marker={
                "color": look.color,
                "symbol": look.symbol,
                "size": 12,
                "line": {"color": PAGES["light"].ink, "width": 1.5},
            },
            name=plotly_text(init),
            legendgroup=plotly_text(init),
            showlegend=init not in legend_names,
            hovertemplate="<b>%{fullData.name}</b>, mean over seeds<br>%{x:.4~g} → %{y:.1%}<extra></extra>",
            **place,
        )
        legend_names.add(init)


def _line(
    figure: Figure, points: DataFrame, name: str, dash: str, place: dict[str, str], legend_names: set[str]
) -> None:
    """The least-squares line of points that have a coefficient."""
    x, y = points["start"].to_numpy(), points["later"].to_numpy()
    if math.isnan(correlation(x, y).pearson):
        return
    slope, height = np.polyfit(x, y, 1)
    ends = np.array([x.min(), x.max()])
    figure.add_scatter(
        x=ends,
        y=height + slope * ends,
        mode="lines",
        line={"color": NEUTRAL, "dash": dash, "width": 2},
        name=name,
        legendgroup=name,
        showlegend=name not in legend_names,
        hoverinfo="skip",
        **place,
    )
    legend_names.add(name)
