"""Data of the confusion matrix: cross-validated predictions of the newest labeling round."""

from __future__ import annotations

from initpools_cli.core.errors import UserError
from initpools_cli.reporting.plot_data.sources import PlotData, PlotRequest, loop_rounds

#: Options that have an effect.
OPTIONS: frozenset[str] = frozenset()
FILE = "out_of_fold.csv"


def gather(request: PlotRequest) -> PlotData:
    """Collect label and prediction of every labeled image."""
    request.context.require_one_class("The plot 'confusion'")
    last = loop_rounds(request.context)[-1]
    if FILE not in last.facts["writes"]:
        raise UserError(
            f"{last.id} has no cross-validated predictions.",
            "Label at least two images of two classes; rounds of older versions get them with --force.",
            last.id,
        )
    rows = last.frame(FILE, dtype={"label": str, "predicted": str}, keep_default_na=False)
    return PlotData({"predictions": rows}, [last])
