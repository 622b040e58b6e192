"""Data of the loss plot: logs of all pretrains, or of the named ones."""

from __future__ import annotations

from initpools_cli.reporting.plot_data.sources import PlotData, PlotRequest, select_steps

#: Options that have an effect.
OPTIONS = frozenset({"--name"})


def gather(request: PlotRequest) -> PlotData:
    """Collect all epochs of the pretrains."""
    import pandas as pd

    context = request.context
    steps = select_steps(context, "pretrain", request.names, "initpools pretrain simclr")
    logs = [step.frame("log.csv").assign(pretrain=step.name, task=step.table["method"]) for step in steps]
    return PlotData({"logs": pd.concat(logs, ignore_index=True)}, steps)
