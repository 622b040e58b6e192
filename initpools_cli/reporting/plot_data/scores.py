"""Distributions of scores are drawn from all scores of a run, or from a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from initpools_cli.reporting.plot_data.sources import PlotData, PlotRequest, chosen

if TYPE_CHECKING:
    from initpools_cli.steps.context import Context

#: Options that it goes by.
TAKES = frozenset({"--name"})
#: The same without a run.
TAKES_ALONE = frozenset({"--scores"})


def gather(context: Context, asked: PlotRequest) -> PlotData:
    """The scores of every image there is to choose from."""
    import pandas as pd

    steps = chosen(context, "score", asked.names, "initpools score typicality")
    frames = [pd.DataFrame({"name": step.name, "score": step.array("scores.npy")[context.data.kept]}) for step in steps]
    return PlotData({"scores": pd.concat(frames, ignore_index=True)}, steps)


def gather_files(asked: PlotRequest, seed: int) -> dict[str, Any] | None:
    """The scores of a file."""
    import pandas as pd

    from initpools_cli.strategies.arrays import INPUTS

    given = asked.brought.arrays().get("scores")
    if given is None:
        return None
    return {"scores": pd.DataFrame({"name": str(asked.brought.scores), "score": INPUTS["scores"].check(given)})}
