"""Distributions of scores are drawn from all scores of a run, or from a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from initpools_cli.reporting.plot_data.sources import PlotData, PlotRequest, chosen

if TYPE_CHECKING:
    pass

#: Options that it goes by.
TAKES = frozenset({"--name"})
#: The same without a run.
TAKES_ALONE, NEEDS = frozenset({"--scores"}), "scores"


def gather(asked: PlotRequest) -> PlotData:
    """The scores of every seen image: those of the run, or of a file."""
    import pandas as pd

    from initpools_cli.strategies.arrays import INPUTS

    given = asked.provider.user.get("scores")
    if asked.provider.context is None and given is not None:
        values = INPUTS["scores"].check(given)
        return PlotData({"scores": pd.DataFrame({"name": str(asked.files.scores), "score": values})})
    context = asked.context
    steps = chosen(context, "score", asked.names, "initpools score typicality")
    frames = [pd.DataFrame({"name": step.name, "score": step.array("scores.npy")[context.data.kept]}) for step in steps]
    return PlotData({"scores": pd.concat(frames, ignore_index=True)}, steps)
