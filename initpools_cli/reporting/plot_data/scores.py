"""Data of the score distributions: scores of a run, or of a file."""

from __future__ import annotations

from initpools_cli.reporting.plot_data.sources import PlotData, PlotRequest, select_steps

#: Options that have an effect.
OPTIONS = frozenset({"--name"})
#: Options that have an effect without a run, and the required input.
OPTIONS_WITHOUT_RUN, NEEDS = frozenset({"--scores"}), "scores"


def gather(request: PlotRequest) -> PlotData:
    """Collect the scores of every image to choose from: those of the run, or of a file."""
    import pandas as pd

    from initpools_cli.strategies.arrays import INPUTS

    user_scores = request.provider.user.get("scores")
    if request.provider.context is None and user_scores is not None:
        values = INPUTS["scores"].check(user_scores)
        return PlotData({"scores": pd.DataFrame({"name": str(request.files.scores), "score": values})})
    context = request.context
    steps = select_steps(context, "score", request.names, "initpools score typicality")
    frames = [pd.DataFrame({"name": step.name, "score": step.array("scores.npy")[context.data.kept]}) for step in steps]
    return PlotData({"scores": pd.concat(frames, ignore_index=True)}, steps)
