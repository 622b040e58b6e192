"""Confusion matrix of the labeled images after a labeling round."""

from __future__ import annotations

import numpy as np

from initpools_cli.core.bounds import PositiveCount
from initpools_cli.core.types import DataFrame, Figure
from initpools_cli.figures.escape import plotly_text, shortened
from initpools_cli.figures.facets import complete, faceted
from initpools_cli.figures.registry import plots
from initpools_cli.figures.theme import NEUTRAL, headline, style, translucent

#: Height of a class and of a matrix without any, in pixels; pairs of classes in words.
LINE, BASE, PAIRS = 28, 60, 10


@plots.register()
def confusion(predictions: DataFrame, *, most: PositiveCount = 20) -> Figure:
    """Label and cross-validated prediction of each labeled image, counted.

    Parameters
    ----------
    predictions : DataFrame
        Columns label and predicted, one row per labeled image.
    most : int
        Classes shown, those with the most errors.
    """
    labels, guesses = (predictions[column].to_numpy(object) for column in ("label", "predicted"))
    wrong = labels != guesses
    every = sorted({*labels.tolist(), *guesses.tolist()})
    errors = {name: int((wrong & ((labels == name) | (guesses == name))).sum()) for name in every}
    top = sorted(sorted(every, key=lambda name: -errors[name])[:most])
    number = {name: i for i, name in enumerate(top)}
    counts = np.zeros((len(top), len(top)), dtype=np.int64)
    for label, guess in zip(labels, guesses, strict=True):
        if label in number and guess in number:
            counts[number[label], number[guess]] += 1
    names = [plotly_text(shortened(name, 14)) for name in top]
    figure = faceted([""], x_title="predicted by cross-validation", y_title="label", height=BASE + LINE * len(top))
    ticks = {"tickvals": list(range(len(top))), "ticktext": names, "showgrid": False}
    figure.update_xaxes(**ticks)
    figure.update_yaxes(**ticks, autorange="reversed")
    off = ~np.eye(len(top), dtype=bool)
    for mask, color in ((~off, style(0).color), (off, style(3).color)):
        figure.add_heatmap(
            z=np.where(mask & (counts > 0), counts, np.nan),
            colorscale=[[0, translucent(color, 0.15)], [1, translucent(color, 0.6)]],
            zmin=0,
            showscale=False,
            showlegend=False,
            hovertemplate="label %{y}, predicted %{x}: %{z}<extra></extra>",
            xgap=1,
            ygap=1,
        )
    # Texts of a scatter have the color of the page's text; a heatmap's own can't be read on a dark page.
    down, across = np.nonzero(counts)
    texts = [str(count) for count in counts[down, across]]
    figure.add_scatter(x=across, y=down, text=texts, mode="text", hoverinfo="skip", showlegend=False)
    figure.update_layout(plot_bgcolor=translucent(NEUTRAL, 0.05))
    limit_note = f" The {most} classes with the most errors are shown." if len(every) > most else ""
    headline(figure, "Which classes are confused", f"{int(wrong.sum())} of {len(labels)} are wrong.{limit_note}")
    pairs = [(counts[i, j], top[i], top[j]) for i, j in zip(*np.nonzero(off & (counts > 0)), strict=True)]
    worst = sorted(pairs, key=lambda pair: -pair[0])[:PAIRS]
    return complete(
        figure,
        [
            "A table of counts: one row per label, one column per prediction.",
            *(f"{count} labeled {label} and predicted {guess}." for count, label, guess in worst),
        ],
    )
