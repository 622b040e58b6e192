"""The class histogram is drawn from pools and the labels of the data set, or annotations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from initpools_cli.reporting.plot_data.sources import PlotData, PlotRequest, chosen, with_classes

if TYPE_CHECKING:
    pass

#: Options that it goes by.
TAKES = frozenset({"--name", "--labels"})


def gather(asked: PlotRequest) -> PlotData:
    """The classes of the images of every pool, and of all images there are to choose from."""
    import pandas as pd

    from initpools_cli.steps.select_pool import read_pool

    context = asked.context
    if asked.files.labels is None:
        context.require_labels("`plot histogram` counts classes: it")
    items = with_classes(context.data.train_items, asked)[context.data.kept]
    pools = chosen(context, "pool", asked.names, "initpools select-pool typiclust --budget 20")
    found = []
    for step in pools:
        picked = read_pool(step)["index"]
        found.append(items.loc[items["index"].isin(picked), ["index", "label", "class"]].assign(pool=step.name))
    return PlotData({"pools": pd.concat(found, ignore_index=True), "items": items}, pools)
