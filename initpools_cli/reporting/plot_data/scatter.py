"""The scatter is drawn from embeddings and pools of the run, or from files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from initpools_cli.core.errors import UserError, unknown_name
from initpools_cli.core.files import read_array
from initpools_cli.core.rundir import FinishedStep
from initpools_cli.reporting.plot_data.sources import (
    PlotData,
    PlotRequest,
    chosen,
    points_of,
    with_classes,
)
from initpools_cli.reporting.projection import projected, sampled
from initpools_cli.steps.user_files import images_named

if TYPE_CHECKING:
    import pandas as pd

    from initpools_cli.steps.context import Context

#: Options that it goes by.
TAKES = frozenset({"--name", "--from", "--embeddings", "--labeled", "--labels"})
#: The same without a run.
TAKES_ALONE, NEEDS = frozenset({"--embeddings", "--labeled", "--labels"}), "embeddings"
#: Endings of tables of images.
TABLES = (".csv", ".tsv")


def gather(asked: PlotRequest) -> PlotData:
    """The images on a plane, and the picks of the newest pool, or of those named."""
    return _of_files(asked) if asked.provider.context is None else _of_run(asked.context, asked)


def _of_run(context: Context, asked: PlotRequest) -> PlotData:
    from initpools_cli.reporting.image_tiles import hover_tiles

    knobs = asked.knobs
    items, tint, colored_by = _tinted(context, with_classes(context.data.train_items, asked), knobs["color"])
    embeddings, embedded = points_of(asked)
    pools, picks = _picked(context, asked, items)
    kept = np.flatnonzero(context.data.kept)
    first = np.empty(0, np.int64) if picks is None else picks.sort_values("order")["index"].unique()
    always = np.flatnonzero(np.isin(kept, first))
    places = sampled(len(kept), knobs["projection"], knobs["sample"], always, context.seed)
    points, rows = projected(embeddings[places], knobs["projection"], context.seed, context.report), kept[places]
    data = {
        "points": points,
        "items": items.iloc[rows],
        "picks": picks,
        "values": None if tint is None else tint[rows],
        "pictures": hover_tiles(context, rows, first[np.isin(first, rows)], knobs["thumbnails"]),
        "whole": len(kept),
    }
    return PlotData(data, [*embedded, *pools, *colored_by])


def _of_files(asked: PlotRequest) -> PlotData:
    """Embeddings of a file on a plane, in the colors of ``--labels``, with the indices of ``--labeled`` as picks."""
    import pandas as pd

    knobs, seed, file = asked.knobs, asked.provider.seed, asked.files.labeled
    if knobs["color"] != "class":
        raise UserError(
            f"color = '{knobs['color']}' needs a run, and only files are given.",
            "Name the run with --run DIR.",
            knobs["color"],
        )
    embeddings, _ = points_of(asked)
    picks, always = None, np.empty(0, np.int64)
    if file is not None:
        picks = _marked(file, None, len(embeddings))
        always = picks["index"].to_numpy()
    items = with_classes(pd.DataFrame({"index": np.arange(len(embeddings))}), asked)
    rows = sampled(len(embeddings), knobs["projection"], knobs["sample"], always, seed)
    return PlotData(
        {
            "points": projected(embeddings[rows], knobs["projection"], seed),
            "items": items.iloc[rows],
            "picks": picks,
            "whole": len(embeddings),
        }
    )


def _marked(file: Path, items: pd.DataFrame | None, n: int) -> pd.DataFrame:
    """The images that ``--labeled`` names, of n, as picks in the order of the file."""
    import pandas as pd

    from initpools_cli.strategies.select import as_rows

    named = images_named(file, "--labeled", items) if file.suffix.lower() in TABLES else read_array(file, "--labeled")
    checked = as_rows("--labeled", named, n)
    # Indices keep the order they came in: it is the order of choice.
    indices = checked if named.dtype == bool else named
    return pd.DataFrame({"index": indices, "order": np.arange(len(indices)), "pool": file.stem})


def _picked(
    context: Context, asked: PlotRequest, items: pd.DataFrame
) -> tuple[list[FinishedStep], pd.DataFrame | None]:
    """The images of ``--labeled`` and of the pools named; where neither is given, of the newest pool."""
    import pandas as pd

    file = asked.files.labeled
    if file is None:
        return picks_of(context, asked.names)
    marked = _marked(file, items, len(items))
    if not asked.names:
        return [], marked
    pools, picks = picks_of(context, asked.names)
    return pools, pd.concat([marked, picks])


def picks_of(context: Context, names: list[str]) -> tuple[list[FinishedStep], pd.DataFrame | None]:
    """The picks of the pools named, or of the newest there is; columns pool, order, index; None without a pool."""
    import pandas as pd

    from initpools_cli.steps.select_pool import read_pool

    if not names and not context.run.folders("pool"):
        return [], None
    pools = chosen(context, "pool", names, "initpools select-pool typiclust --budget 20")
    pools = pools if names else pools[-1:]
    return pools, pd.concat([read_pool(pool)[["order", "index"]].assign(pool=pool.name) for pool in pools])


def _tinted(
    context: Context, items: pd.DataFrame, color: str
) -> tuple[pd.DataFrame, np.ndarray | None, list[FinishedStep]]:
    """The items with what colors them, the score of every image where it is one, and the step it is from."""
    from initpools_cli.steps.clusters import CLUSTERS, clusters_of
    from initpools_cli.steps.find_scores import scores_of
    from initpools_cli.steps.score_name import score_names

    if color == "class":
        return items, None, []
    if color == "cluster":
        done = clusters_of(context)
        return items.assign(cluster=[f"cluster {c}" for c in done.array(CLUSTERS)]), None, [done]
    if color not in score_names():
        raise unknown_name("color", color, ["class", "cluster", *score_names()], "initpools list scores")
    done = scores_of(context, color)
    return items, done.array("scores.npy"), [done]
