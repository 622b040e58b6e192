"""The scatter is drawn from embeddings and the newest pool, or from files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from initpools_cli.steps.bring import read_labeled
from initpools_cli.steps.gather.sources import Asked, Gathered, chosen, projected

if TYPE_CHECKING:
    from initpools_cli.steps.context import Context


def gather(context: Context, asked: Asked) -> Gathered:
    """The images on a plane, and the picks of the newest pool, or of the one named."""
    from initpools_cli.steps.embed import matrix, newest
    from initpools_cli.steps.inputs import train_items
    from initpools_cli.steps.pool import read_pool

    embedded = newest(context, asked.source)
    asks = asked.names or context.run.folders("pool")
    pools = chosen(context, "pool", asked.names, "initpools select-pool typiclust --budget 20") if asks else []
    latest = pools[-1:]
    picks = read_pool(latest[0])[["index", "order"]] if latest else None
    kept = np.flatnonzero(context.data.kept)
    points = projected(np.asarray(matrix(embedded))[kept], asked.knobs["projection"], context.seed)
    data = {"points": points, "items": train_items(context).iloc[kept], "picks": picks}
    return Gathered(data, [embedded, *latest])


def gather_files(asked: Asked, seed: int) -> dict[str, Any] | None:
    """Brought embeddings on a plane, and the brought indices as picks."""
    import pandas as pd

    from initpools_cli.strategies.choose import as_rows
    from initpools_cli.strategies.inputs import INPUTS

    given = asked.brought.arrays().get("embeddings")
    if given is None:
        return None
    embeddings = INPUTS["embeddings"].check(given)
    picks = None
    if asked.brought.labeled:
        named = read_labeled(asked.brought.labeled, None)
        checked = as_rows("--labeled", named, len(embeddings))
        # Indices keep the order they came in: it is the order of choice.
        rows = checked if named.dtype == bool else named
        picks = pd.DataFrame({"index": rows, "order": np.arange(len(rows))})
    return {
        "points": projected(embeddings, asked.knobs["projection"], seed),
        "items": pd.DataFrame({"index": np.arange(len(embeddings))}),
        "picks": picks,
    }
