"""Data of the gallery: one pool, its original images, and the embeddings that it was chosen from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.rundir import FinishedStep
from initpools_cli.reporting.plot_data.sources import PlotData, PlotRequest, select_steps

if TYPE_CHECKING:
    import pandas as pd


#: Options that have an effect.
OPTIONS = frozenset({"--name", "--from", "--embeddings"})
#: Maximum side of a chosen image and of a represented one, in pixels.
SIDE, SMALL = 240, 80


def gather(request: PlotRequest) -> PlotData:
    """Collect the picks of the newest pool, or of the named one."""
    from initpools_cli.reporting.image_tiles import originals
    from initpools_cli.steps.select_pool import read_pool

    context = request.context
    context.require_images("A gallery")
    if len(request.names) > 1:
        raise UserError(
            f"A gallery shows one pool, but {len(request.names)} are named: {', '.join(request.names)}.",
            "Draw one gallery per pool: pass one --name, with -o FILE.",
            ", ".join(request.names),
        )
    pool = select_steps(context, "pool", request.names, "initpools select-pool --budget 20")[-1]
    rows = read_pool(pool)
    items = context.data.train_items.iloc[rows["index"].to_numpy()]
    rows = rows.assign(**{"class": items["class"].to_numpy(), "path": items["path"].to_numpy()}).drop(columns="label")
    first = rows.iloc[: request.knobs["most"]]
    near = _nearest_members(pool, first, request)
    pictures, missing = originals(context, first["index"].tolist(), SIDE)
    small, more = originals(context, [each for group in (near or {}).values() for each in group], SMALL)
    if missing or more:
        context.report.warn(
            f"{len(missing) + len(more)} original images can't be read; their small copies are shown instead."
        )
    data: dict[str, Any] = {
        "picks": rows,
        "pictures": pictures,
        "near": near,
        "small": small,
        "lost": missing + more,
        "pool": pool.name,
    }
    return PlotData(data, [pool])


def _nearest_members(pool: FinishedStep, rows: pd.DataFrame, request: PlotRequest) -> dict[int, list[int]] | None:
    """Find the nearest of the images that each pick represents; None if the pool does not have them."""
    if "represents.npy" not in pool.facts["writes"] or not request.knobs["neighbors"]:
        return None if request.knobs["neighbors"] else {}
    from initpools_cli.strategies.embeddings import as_embeddings

    owner = pool.array("represents.npy")
    embeddings, _ = request.provider.card_embeddings(str(pool.table["source"]))
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
        near[int(index)] = members[np.argsort(distances, kind="stable")[: request.knobs["neighbors"]]].tolist()
    return near
