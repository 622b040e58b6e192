"""The data map is drawn from the scores of a classifier watched while it learns all labels, made where missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from initpools_cli.reporting.plot_data.scatter import picks_of
from initpools_cli.reporting.plot_data.sources import PlotData, PlotRequest

if TYPE_CHECKING:
    pass

#: Options that it goes by.
TAKES = frozenset({"--name"})
SCORES = ("confidence", "variability", "correctness")


def gather(asked: PlotRequest) -> PlotData:
    """The three scores of every image, and the picks of the newest pool, or of those named."""
    import pandas as pd

    from initpools_cli.reporting.image_tiles import hover_tiles
    from initpools_cli.steps.find_scores import scores_of

    context = asked.context
    context.require_labels("`plot datamap`")
    pools, picks = picks_of(context, asked.names)
    made = {name: scores_of(context, name) for name in SCORES}
    rows = np.flatnonzero(context.labeled_only("`plot datamap`"))
    first = np.empty(0, np.int64) if picks is None else picks.sort_values("order")["index"].unique()
    data = {
        "dynamics": pd.DataFrame({name: done.array("scores.npy")[rows] for name, done in made.items()}),
        "items": context.data.train_items.iloc[rows],
        "picks": picks,
        "pictures": hover_tiles(context, rows, first[np.isin(first, rows)], asked.knobs["thumbnails"]),
    }
    return PlotData(data, [*made.values(), *pools])
