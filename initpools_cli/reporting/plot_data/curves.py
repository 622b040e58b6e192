"""Learning curves are drawn from sweeps: the newest, or those named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from initpools_cli.reporting.plot_data.sources import PlotData, PlotRequest, chosen

if TYPE_CHECKING:
    pass

#: Options that it goes by.
TAKES = frozenset({"--name"})


def gather(asked: PlotRequest) -> PlotData:
    """The rows of the sweeps."""
    import pandas as pd

    from initpools_cli.sweeps.results import rounds_of

    context = asked.context
    sweeps = chosen(context, "al", asked.names, "initpools al-run --init random,typiclust --query random,margin")
    latest = sweeps if asked.names else sweeps[-1:]
    return PlotData({"rounds": pd.concat([rounds_of(step) for step in latest], ignore_index=True)}, latest)
