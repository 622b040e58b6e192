"""Data of the correlation plot: a sweep and, optionally, a score."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from initpools_cli.reporting.plot_data.sources import SWEEP_COMMAND, PlotData, PlotRequest, select_steps

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from initpools_cli.core.rundir import FinishedStep

#: Options that have an effect.
OPTIONS = frozenset({"--name"})


def gather(request: PlotRequest) -> PlotData:
    """Collect the value of every first pool at the start, and its accuracy later."""
    import pandas as pd

    from initpools_cli.stats.correlation import start_and_later
    from initpools_cli.stats.metric_names import chosen_metric
    from initpools_cli.steps.find_scores import scores_of
    from initpools_cli.sweeps.results import rounds_of

    context = request.context
    sweeps = select_steps(context, "al", request.names, SWEEP_COMMAND)
    latest = sweeps if request.names else sweeps[-1:]
    start, metric = request.knobs["of"], request.knobs["metric"]
    rounds = {step: rounds_of(step) for step in latest}
    metric = chosen_metric(metric, next(iter(rounds.values())).columns)
    if start == "first":
        frames = {step: start_and_later(rows, metric) for step, rows in rounds.items()}
        score_steps = []
    else:
        score_steps = [scores_of(context, start)]
        scores = score_steps[0].array("scores.npy")
        frames = {step: mean_score_and_later(step, rows, scores, metric) for step, rows in rounds.items()}
    pairs = pd.concat([frame.assign(sweep=step.name) for step, frame in frames.items()], ignore_index=True)
    return PlotData({"pairs": pairs.assign(metric=metric)}, [*latest, *score_steps])


def mean_score_and_later(step: FinishedStep, rounds: pd.DataFrame, scores: np.ndarray, metric: str) -> pd.DataFrame:
    """Compute the mean score of every first pool and the metric in every round, in the form of `start_and_later`.

    Parameters
    ----------
    step : FinishedStep
        The sweep.
    rounds : DataFrame
        Rows of its rounds.csv.
    scores : ndarray, shape (n,)
    """
    from initpools_cli.reporting.compare import labeled_images

    cells = labeled_images(step)
    ok = rounds[rounds["status"] == "ok"].rename(columns={metric: "later"})
    size = int(rounds["labeled"].min())
    means = {key: float(scores[picks[:size]].mean()) for key, picks in cells.items()}
    keys = zip(ok["init"], ok["query"], ok["learner"], ok["encoder"], ok["seed"].astype(str), strict=True)
    return ok.assign(start=[means.get(key, math.nan) for key in keys])
