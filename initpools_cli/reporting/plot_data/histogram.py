"""Data of the class histogram: pools, with the labels of the data set or of ``--labels``."""

from __future__ import annotations

from initpools_cli.datasets.item_labels import one_row_a_class
from initpools_cli.reporting.plot_data.sources import PlotData, PlotRequest, select_steps, with_classes

#: Options that have an effect.
OPTIONS = frozenset({"--name", "--labels"})


def gather(request: PlotRequest) -> PlotData:
    """Collect the classes of the images of every pool, and of all images to choose from."""
    import pandas as pd

    from initpools_cli.steps.select_pool import read_pool

    context = request.context
    if request.files.labels is None:
        context.require_labels("`plot histogram` counts classes: it")
    items = with_classes(context.data.train_items, request)[context.data.kept]
    if context.data.multilabel:
        items = one_row_a_class(items)
    pools = select_steps(context, "pool", request.names, "initpools select-pool --budget 20")
    frames = []
    for step in pools:
        picks = read_pool(step)["index"]
        frames.append(items.loc[items["index"].isin(picks), ["index", "label", "class"]].assign(pool=step.name))
    return PlotData({"pools": pd.concat(frames, ignore_index=True), "items": items}, pools)
