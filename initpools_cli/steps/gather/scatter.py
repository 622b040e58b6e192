"""The scatter is drawn from embeddings and pools of the run, or from files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from initpools_cli.core.errors import UserError, unknown_name
from initpools_cli.core.rundir import Done
from initpools_cli.steps.bring import read_rows
from initpools_cli.steps.gather.sources import Asked, Gathered, chosen
from initpools_cli.steps.plane import projected, sampled

if TYPE_CHECKING:
    import pandas as pd

    from initpools_cli.steps.context import Context


def gather(context: Context, asked: Asked) -> Gathered:
    """The images on a plane, and the picks of the newest pool, or of those named."""
    from initpools_cli.steps.embed import matrix, newest
    from initpools_cli.steps.inputs import train_items
    from initpools_cli.steps.pictures import hover_tiles

    knobs = asked.knobs
    items, tint, colored_by = _tinted(context, train_items(context), knobs["color"])
    embedded = newest(context, asked.source)
    pools, picks = picks_of(context, asked.names)
    kept = np.flatnonzero(context.data.kept)
    first = np.empty(0, np.int64) if picks is None else picks.sort_values("order")["index"].unique()
    always = np.flatnonzero(np.isin(kept, first))
    rows = kept[sampled(len(kept), knobs["projection"], knobs["sample"], always, context.seed)]
    points = projected(np.asarray(matrix(embedded))[rows], knobs["projection"], context.seed, context.report)
    data = {
        "points": points,
        "items": items.iloc[rows],
        "picks": picks,
        "values": None if tint is None else tint[rows],
        "pictures": hover_tiles(context, rows, first[np.isin(first, rows)], knobs["thumbnails"]),
        "whole": len(kept),
    }
    return Gathered(data, [embedded, *pools, *colored_by])


def gather_files(asked: Asked, seed: int) -> dict[str, Any] | None:
    """Brought embeddings on a plane, and the brought indices as picks; there are no pictures."""
    import pandas as pd

    from initpools_cli.strategies.choose import as_rows
    from initpools_cli.strategies.inputs import INPUTS

    given = asked.brought.arrays().get("embeddings")
    if given is None:
        return None
    knobs = asked.knobs
    if knobs["color"] != "class":
        raise UserError(f"color = '{knobs['color']}' is of a run, and there is none here.", "Name it with --run DIR.")
    embeddings = INPUTS["embeddings"].check(given)
    picks, always = None, np.empty(0, np.int64)
    if asked.brought.labeled:
        named = read_rows(asked.brought.labeled, "--labeled", None)
        checked = as_rows("--labeled", named, len(embeddings))
        # Indices keep the order they came in: it is the order of choice.
        always = checked if named.dtype == bool else named
        picks = pd.DataFrame({"index": always, "order": np.arange(len(always))})
    rows = sampled(len(embeddings), knobs["projection"], knobs["sample"], always, seed)
    return {
        "points": projected(embeddings[rows], knobs["projection"], seed),
        "items": pd.DataFrame({"index": rows}),
        "picks": picks,
        "whole": len(embeddings),
    }


def picks_of(context: Context, names: list[str]) -> tuple[list[Done], pd.DataFrame | None]:
    """The picks of the pools named, or of the newest there is; columns pool, order, index; None without a pool."""
    import pandas as pd

    from initpools_cli.steps.pool import read_pool

    if not names and not context.run.folders("pool"):
        return [], None
    pools = chosen(context, "pool", names, "initpools select-pool typiclust --budget 20")
    pools = pools if names else pools[-1:]
    return pools, pd.concat([read_pool(pool)[["order", "index"]].assign(pool=pool.name) for pool in pools])


def _tinted(context: Context, items: pd.DataFrame, color: str) -> tuple[pd.DataFrame, np.ndarray | None, list[Done]]:
    """The items with what colours them, the score of every image where it is one, and the step it is from."""
    from initpools_cli.steps.clusters import CLUSTERS, clusters_of
    from initpools_cli.steps.score import score_names, scores_of

    if color == "class":
        return items, None, []
    if color == "cluster":
        done = clusters_of(context)
        return items.assign(cluster=[f"cluster {c}" for c in done.array(CLUSTERS)]), None, [done]
    if color not in score_names():
        raise unknown_name("colour", color, ["class", "cluster", *score_names()], "initpools list scores")
    done = scores_of(context, color)
    return items, done.array("scores.npy"), [done]
