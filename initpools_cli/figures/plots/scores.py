"""Distributions of scores, with their ties."""

from __future__ import annotations

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.types import DataFrame, Figure
from initpools_cli.figures.escape import percent, plotly_text, shortened
from initpools_cli.figures.facets import axis_name, complete, faceted
from initpools_cli.figures.registry import plots
from initpools_cli.figures.theme import headline, style
from initpools_cli.stats.ties import Ties, ties

MOST_BINS = 60


@plots.register("scores")
def score_histograms(scores: DataFrame) -> Figure:
    """Histogram of each score, with its ties, most common value and spread.

    Parameters
    ----------
    scores : DataFrame
        Columns name and score; one row per image and score.

    Raises
    ------
    UserError
        There is no score, or one holds an infinite value.
    """
    if not scores["score"].notna().any():
        raise UserError(
            "There is no score to draw.",
            "Compute one first, for example with `initpools score typicality`.",
            "no score",
        )
    columns = {str(name): group["score"].to_numpy(np.float64) for name, group in scores.groupby("name", sort=False)}
    for name, values in columns.items():
        if np.isinf(values).any():
            raise UserError(
                f"The score '{name}' has {int(np.isinf(values).sum())} infinite values.",
                "Compute it again with `initpools score … --force`.",
                name,
            )
    facts = {name: ties(values) for name, values in columns.items()}
    figure = faceted(
        [f"<b>{plotly_text(shortened(name))}</b><br>{_numbers(facts[name])}" for name in columns],
        x_title="score",
        y_title="images",
        columns=2,
        height=260 if len(columns) > 1 else 360,
    )
    figure.update_layout(bargap=0)
    for i, (name, values) in enumerate(columns.items()):
        counts, edges = _binned(values[~np.isnan(values)])
        figure.add_bar(
            x=(edges[:-1] + edges[1:]) / 2,
            y=counts,
            width=np.diff(edges),
            marker={"color": style(0).color, "line": {"width": 0}},
            customdata=np.column_stack([edges[:-1], edges[1:]]),
            hovertemplate="%{customdata[0]:.4g} to %{customdata[1]:.4g}<br>%{y} images<extra></extra>",
            name=plotly_text(name),
            showlegend=False,
            xaxis=axis_name("x", i),
            yaxis=axis_name("y", i),
        )
    headline(
        figure,
        "Distribution of scores",
        "Tied: images whose value another image has too. Most common: images with the most frequent value. "
        "Spread: largest minus smallest, over the largest magnitude.",
    )
    words = [f"{name}: {fact.n} images, {_numbers(fact)}." for name, fact in facts.items()]
    return complete(figure, ["Histograms of scores.", *words])


def _binned(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if not values.size or np.ptp(values) == 0:
        center = float(values[0]) if values.size else 0.0
        half = abs(center) / 20 or 0.5
        return np.array([values.size]), np.array([center - half, center + half])
    few = min(MOST_BINS, max(1, len(np.histogram_bin_edges(values, "sqrt")) - 1))
    counts, edges = np.histogram(values, bins=few)
    return counts, edges


def _numbers(fact: Ties) -> str:
    missing = f", {fact.missing} missing" if fact.missing else ""
    if not fact.n:
        return f"no values{missing}"
    spread = f"{fact.spread:.3g}"
    return f"tied {percent(fact.tied)}, most common {percent(fact.commonest)}, spread {spread}{missing}"
