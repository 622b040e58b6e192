"""Labels, predictions and recall of each class after a labeling round."""

from __future__ import annotations

import numpy as np

from initpools_cli.core.bounds import PositiveCount
from initpools_cli.core.types import DataFrame, Figure
from initpools_cli.figures.escape import percent, plotly_text, shortened
from initpools_cli.figures.facets import axis_name, complete, faceted
from initpools_cli.figures.registry import plots
from initpools_cli.figures.theme import headline, style

PANELS = {
    "recall": "recall (%)",
    "labeled": "labeled images",
    "predicted": "predicted (no label yet)",
}
#: Height of a class and of a panel without any, in pixels.
LINE, BASE = 20, 60


@plots.register()
def classes(classes: DataFrame, *, most: PositiveCount = 30) -> Figure:
    """Cross-validated recall of each class, and the number of labeled and of predicted images.

    Parameters
    ----------
    classes : DataFrame
        Columns class, labeled, predicted and recall; recall is NaN where it is unknown.
    most : int
        Classes shown, those with the lowest recall first.
    """
    order = np.lexsort((-classes["labeled"].to_numpy(), classes["recall"].fillna(-1).to_numpy()))
    first = classes.iloc[order[:most]]
    figure = faceted(
        [f"<b>{title}</b>" for title in PANELS.values()],
        x_title="",
        y_title="",
        height=BASE + LINE * len(first),
        same_y=True,
    )
    names = [plotly_text(shortened(name, 18)) for name in first["class"]]
    for i, (column, title) in enumerate(PANELS.items()):
        values = first[column].to_numpy(float)
        text = [_text(column, value) for value in values]
        figure.add_bar(
            x=values,
            y=np.arange(len(first)),
            orientation="h",
            marker={"color": style(i).color},
            text=text,
            textposition="outside",
            cliponaxis=False,
            name=title,
            showlegend=False,
            hovertemplate="<b>%{customdata}</b><br>" + title + ": %{text}<extra></extra>",
            customdata=names,
            xaxis=axis_name("x", i),
            yaxis=axis_name("y", i),
        )
    figure.update_yaxes(autorange="reversed", tickvals=list(range(len(first))), ticktext=names, showgrid=False)
    figure.update_xaxes(rangemode="tozero")
    figure.update_xaxes(range=[0, 1.15], tickvals=[0, 0.5, 1], tickformat="~%", selector={"anchor": "y"})
    limit_note = f" The {most} with the lowest recall are shown." if len(classes) > most else ""
    headline(
        figure,
        "Classes",
        "Recall: share of the labeled images of a class that cross-validation predicts correctly." + limit_note,
    )
    return complete(
        figure,
        [
            "Bar charts, one bar per class.",
            *(_in_words({str(key): value for key, value in row.items()}) for row in first.to_dict("records")),
        ],
    )


def _text(column: str, value: float) -> str:
    if np.isnan(value):
        return "unknown"
    return percent(value) if column == "recall" else f"{int(value):,}"


def _in_words(row: dict[str, float]) -> str:
    recall = "unknown" if np.isnan(row["recall"]) else percent(row["recall"])
    return f"{row['class']}: recall {recall}, {int(row['labeled']):,} labeled, {int(row['predicted']):,} predicted."
