"""Data of the accuracy by round: the outcome of every labeling round."""

from __future__ import annotations

import math
from typing import Any

from initpools_cli.reporting.plot_data.sources import PlotData, PlotRequest, loop_rounds

#: Options that have an effect.
OPTIONS: frozenset[str] = frozenset()
#: Keys of an outcome that are drawn.
KEYS = ("labeled", "minutes", "accuracy", "low", "high", "test_accuracy", "test_low", "test_high")


def gather(request: PlotRequest) -> PlotData:
    """Collect the accuracies of all rounds."""
    import pandas as pd

    from initpools_cli.labeling.stored_rounds import outcome_of

    request.context.require_one_class("The plot 'rounds'")
    steps = loop_rounds(request.context)
    return PlotData({"rounds": pd.DataFrame([_row(outcome_of(step)) for step in steps])}, steps)


def _row(outcome: dict[str, Any]) -> dict[str, Any]:
    audit = outcome.get("audit", {})
    return {
        "round": outcome["round"],
        **{key: outcome.get(key, math.nan) for key in KEYS},
        **{f"audit_{key}": audit.get(key, math.nan) for key in ("accuracy", "low", "high")},
    }
