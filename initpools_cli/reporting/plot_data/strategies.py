"""The strategies are drawn from all sweeps of a run that have the newest one's learners."""

from __future__ import annotations

from typing import TYPE_CHECKING

from initpools_cli.reporting.plot_data.sources import PlotData, PlotRequest, chosen

if TYPE_CHECKING:
    pass

#: Options that it goes by.
TAKES = frozenset({"--name"})


def gather(asked: PlotRequest) -> PlotData:
    """The rows of the sweeps, with the sweep's name."""
    import pandas as pd

    from initpools_cli.sweeps.results import rounds_of

    context = asked.context
    sweeps = chosen(context, "al", asked.names, "initpools al-run --init random,typiclust --query random,margin")
    if not asked.names:
        newest = set(sweeps[-1].table["learner"])
        sweeps = [step for step in sweeps if set(step.table["learner"]) == newest]
    rounds = [rounds_of(step).assign(sweep=step.name) for step in sweeps]
    return PlotData({"rounds": pd.concat(rounds, ignore_index=True)}, sweeps)
