"""The correlation is drawn from the newest sweep and, where it is of a score, from that score."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from initpools_cli.reporting.plot_data.sources import PlotData, PlotRequest, chosen

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from initpools_cli.core.rundir import FinishedStep

#: Options that it goes by.
TAKES = frozenset({"--name"})


def gather(asked: PlotRequest) -> PlotData:
    """What every first pool of the sweeps is like, and what came of it."""
    import pandas as pd

    from initpools_cli.stats.correlation import start_and_later
    from initpools_cli.steps.find_scores import scores_of
    from initpools_cli.sweeps.results import rounds_of

    context = asked.context
    sweeps = chosen(context, "al", asked.names, "initpools al-run --init random,typiclust --query random,margin")
    latest = sweeps if asked.names else sweeps[-1:]
    of, metric = asked.knobs["of"], asked.knobs["metric"]
    if of == "first":
        found = {step: start_and_later(rounds_of(step), metric) for step in latest}
        scored = []
    else:
        scored = [scores_of(context, of)]
        scores = scored[0].array("scores.npy")
        found = {step: scored_and_later(step, rounds_of(step), scores, metric) for step in latest}
    pairs = pd.concat([frame.assign(sweep=step.name) for step, frame in found.items()], ignore_index=True)
    return PlotData({"pairs": pairs}, [*latest, *scored])


def scored_and_later(step: FinishedStep, rounds: pd.DataFrame, scores: np.ndarray, metric: str) -> pd.DataFrame:
    """The mean score of every first pool, and the metric in every round, as `start_and_later` has them.

    Parameters
    ----------
    step : FinishedStep
        The sweep.
    rounds : DataFrame
        Its rows.
    scores : ndarray, shape (n,)
    """
    from initpools_cli.reporting.compare import labeled_images

    cells = labeled_images(step)
    good = rounds[rounds["status"] == "ok"].rename(columns={metric: "later"})
    size = int(rounds["labeled"].min())
    means = {key: float(scores[picks[:size]].mean()) for key, picks in cells.items()}
    keys = zip(good["init"], good["query"], good["learner"], good["encoder"], good["seed"].astype(str), strict=True)
    return good.assign(start=[means.get(key, math.nan) for key in keys])
