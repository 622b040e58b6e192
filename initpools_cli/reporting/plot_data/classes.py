"""Data of the classes: the newest labeling round."""

from __future__ import annotations

from initpools_cli.datasets.multilabel import SEPARATOR
from initpools_cli.reporting.plot_data.sources import PlotData, PlotRequest, loop_rounds

#: Options that have an effect.
OPTIONS: frozenset[str] = frozenset()


def gather(request: PlotRequest) -> PlotData:
    """Collect the recall of each class, and count labels and predictions."""
    last = loop_rounds(request.context)[-1]
    classes = last.frame("classes.csv", dtype={"class": str}, keep_default_na=False, na_values={"recall": [""]})
    labels = last.frame("predictions.csv", dtype={"label": str}, keep_default_na=False)["label"]
    if request.context.data.multilabel:
        labels = labels.str.split(SEPARATOR, regex=False).explode()
    prediction_counts = labels.value_counts()
    return PlotData({"classes": classes.assign(predicted=classes["class"].map(prediction_counts).fillna(0))}, [last])
