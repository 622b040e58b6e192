"""Losses are drawn from the logs of all pretrains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from initpools_cli.reporting.plot_data.sources import PlotData, PlotRequest, chosen

if TYPE_CHECKING:
    pass

#: Options that it goes by.
TAKES = frozenset({"--name"})


def gather(asked: PlotRequest) -> PlotData:
    """Every epoch of every pretrain."""
    import pandas as pd

    context = asked.context
    steps = chosen(context, "pretrain", asked.names, "initpools pretrain simclr")
    logs = [step.frame("log.csv").assign(pretrain=step.name, task=step.table["method"]) for step in steps]
    return PlotData({"logs": pd.concat(logs, ignore_index=True)}, steps)
