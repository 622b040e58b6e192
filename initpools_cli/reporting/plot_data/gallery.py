"""The gallery is drawn from one pool, the original images, and the embeddings that the pool was chosen from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.rundir import FinishedStep
from initpools_cli.reporting.plot_data.sources import PlotData, PlotRequest, chosen

if TYPE_CHECKING:
    import pandas as pd


#: Options that it goes by.
TAKES = frozenset({"--name", "--from", "--embeddings"})
#: The largest side of a chosen image and of one that it stands for, in pixels.
SIDE, SMALL = 240, 80


def gather(asked: PlotRequest) -> PlotData:
    """The picks of the newest pool, or of the one named."""
    from initpools_cli.reporting.image_tiles import originals
    from initpools_cli.steps.select_pool import read_pool

    context = asked.context
    if len(asked.names) > 1:
        raise UserError(
            f"A gallery shows one pool, and {len(asked.names)} are named: {', '.join(asked.names)}.",
            "Draw one after the other, each with -o FILE.",
        )
    pool = chosen(context, "pool", asked.names, "initpools select-pool typiclust --budget 20")[-1]
    rows = read_pool(pool)
    items = context.data.train_items.iloc[rows["index"].to_numpy()]
    rows = rows.assign(**{"class": items["class"].to_numpy(), "path": items["path"].to_numpy()}).drop(columns="label")
    first = rows.iloc[: asked.knobs["most"]]
    near = _stood_for(pool, first, asked)
    pictures, lost = originals(context, first["index"].tolist(), SIDE)
    small, more = originals(context, [each for group in (near or {}).values() for each in group], SMALL)
    if lost or more:
        context.report.warn(
            f"{len(lost) + len(more)} original images can't be read any more: their small copies are shown"
        )
    data: dict[str, Any] = {
        "picks": rows,
        "pictures": pictures,
        "near": near,
        "small": small,
        "lost": lost + more,
        "pool": pool.name,
    }
    return PlotData(data, [pool])


def _stood_for(pool: FinishedStep, rows: pd.DataFrame, asked: PlotRequest) -> dict[int, list[int]] | None:
    """Of each pick the nearest of the images that it is nearest to; None where that was not measured."""
    if "represents.npy" not in pool.facts["writes"] or not asked.knobs["neighbors"]:
        return None if asked.knobs["neighbors"] else {}
    from initpools_cli.strategies.arrays import as_embeddings

    owner = pool.array("represents.npy")
    embeddings, _ = asked.provider.measured(str(pool.table["source"]))
    assert embeddings is not None, "a run has embeddings"
    indices = pool.array("indices.npy")
    by_owner = np.argsort(owner, kind="stable")
    ends = np.searchsorted(owner[by_owner], np.arange(len(indices) + 1))
    near = {}
    for order, index in zip(rows["order"], rows["index"], strict=True):
        members = by_owner[ends[order] : ends[order + 1]]
        members = members[members != index]
        both = np.concatenate([[index], members])
        points = as_embeddings(np.asarray(embeddings[both]), bool(pool.table["normalize"]))
        distances = np.linalg.norm(points[1:] - points[0], axis=1)
        near[int(index)] = members[np.argsort(distances, kind="stable")[: asked.knobs["neighbors"]]].tolist()
    return near
