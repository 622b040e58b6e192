"""The class histogram is drawn from pools and the labels of the data set, or annotations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from initpools_cli.steps.bring import read_labels
from initpools_cli.steps.gather.sources import Asked, Gathered, chosen

if TYPE_CHECKING:
    from initpools_cli.steps.context import Context


def gather(context: Context, asked: Asked) -> Gathered:
    """The classes of the images of every pool, and of all images there are to choose from."""
    import pandas as pd

    from initpools_cli.steps.inputs import train_items
    from initpools_cli.steps.pool import read_pool

    items, annotated = train_items(context), asked.brought.labels
    if annotated:
        rows, labels, classes = read_labels(
            annotated, items, asked.brought.classes_in(context.data.classes), report=context.report
        )
        items = items.assign(label=pd.array([pd.NA] * len(items), dtype="Int64"), **{"class": ""})
        items.loc[rows, "label"] = labels
        items.loc[rows, "class"] = np.array(classes)[labels]
    else:
        context.require_labels("`plot histogram` counts classes: it")
    items = items[context.data.kept]
    pools = chosen(context, "pool", asked.names, "initpools select-pool typiclust --budget 20")
    found = []
    for step in pools:
        picked = read_pool(step)["index"]
        found.append(items.loc[items["index"].isin(picked), ["index", "label", "class"]].assign(pool=step.name))
    return Gathered({"pools": pd.concat(found, ignore_index=True), "items": items}, pools)
