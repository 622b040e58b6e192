"""Data of the data map: scores of a classifier's training dynamics on all labels, computed if missing."""

from __future__ import annotations

import numpy as np

from initpools_cli.reporting.plot_data.scatter import picks_of
from initpools_cli.reporting.plot_data.sources import PlotData, PlotRequest

#: Options that have an effect.
OPTIONS = frozenset({"--name"})
SCORES = ("confidence", "variability", "correctness")


def gather(request: PlotRequest) -> PlotData:
    """Collect the three scores of every image, and the picks of the newest pool or of the named ones."""
    import pandas as pd

    from initpools_cli.reporting.image_tiles import hover_tiles
    from initpools_cli.steps.find_scores import scores_of

    context = request.context
    context.require_labels("`plot datamap`")
    pools, picks = picks_of(context, request.names)
    steps = {name: scores_of(context, name) for name in SCORES}
    rows = np.flatnonzero(context.labeled_only("`plot datamap`"))
    first = np.empty(0, np.int64) if picks is None else picks.sort_values("order")["index"].unique()
    data = {
        "dynamics": pd.DataFrame({name: step.array("scores.npy")[rows] for name, step in steps.items()}),
        "items": context.data.train_items.iloc[rows],
        "picks": picks,
        "pictures": hover_tiles(context, rows, first[np.isin(first, rows)], request.knobs["thumbnails"]),
    }
    return PlotData(data, [*steps.values(), *pools])
