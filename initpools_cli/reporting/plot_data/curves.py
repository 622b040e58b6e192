"""Data of the learning curves: the newest sweep, or the named ones."""

from __future__ import annotations

from initpools_cli.reporting.plot_data.sources import SWEEP_COMMAND, PlotData, PlotRequest, select_steps

#: Options that have an effect.
OPTIONS = frozenset({"--name"})


def gather(request: PlotRequest) -> PlotData:
    """Collect the rounds of the sweeps."""
    import pandas as pd

    from initpools_cli.sweeps.results import rounds_of

    context = request.context
    sweeps = select_steps(context, "al", request.names, SWEEP_COMMAND)
    latest = sweeps if request.names else sweeps[-1:]
    return PlotData({"rounds": pd.concat([rounds_of(step) for step in latest], ignore_index=True)}, latest)
