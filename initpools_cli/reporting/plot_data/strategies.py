"""Data of the strategies plot: all sweeps of a run with the same learners as the newest one."""

from __future__ import annotations

from initpools_cli.reporting.plot_data.sources import SWEEP_COMMAND, PlotData, PlotRequest, select_steps

#: Options that have an effect.
OPTIONS = frozenset({"--name"})


def gather(request: PlotRequest) -> PlotData:
    """Collect the rounds of the sweeps, with the name of each sweep."""
    import pandas as pd

    from initpools_cli.sweeps.results import rounds_of

    context = request.context
    sweeps = select_steps(context, "al", request.names, SWEEP_COMMAND)
    if not request.names:
        newest = set(sweeps[-1].table["learner"])
        sweeps = [step for step in sweeps if set(step.table["learner"]) == newest]
    rounds = [rounds_of(step).assign(sweep=step.name) for step in sweeps]
    return PlotData({"rounds": pd.concat(rounds, ignore_index=True)}, sweeps)
