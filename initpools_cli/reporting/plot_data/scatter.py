"""Data of the scatter plot: projected embeddings and picks, from the run or from files."""

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
    loop_rounds,
    plot_embeddings,
    select_steps,
    with_classes,
)
from initpools_cli.reporting.projection import projected, sampled
from initpools_cli.steps.user_files import images_of_table

if TYPE_CHECKING:
    import pandas as pd

    from initpools_cli.steps.context import Context

#: Options that have an effect.
OPTIONS = frozenset({"--name", "--from", "--embeddings", "--labeled", "--labels"})
#: Options that have an effect without a run, and the required input.
OPTIONS_WITHOUT_RUN, NEEDS = frozenset({"--embeddings", "--labeled", "--labels"}), "embeddings"
#: Colors that are values of the last labeling round.
OF_LOOP = ("label", "prediction", "confidence", "round")
#: File endings of tables.
TABLES = (".csv", ".tsv")


def gather(request: PlotRequest) -> PlotData:
    """Project the images, and collect the picks of the newest pool or of the named ones."""
    return _from_files(request) if request.provider.context is None else _from_run(request.context, request)


def _from_run(context: Context, request: PlotRequest) -> PlotData:
    from initpools_cli.reporting.image_tiles import hover_tiles

    knobs = request.knobs
    items, values, value_steps = _color_values(context, with_classes(context.data.train_items, request), knobs["color"])
    embeddings, embedding_steps = plot_embeddings(request)
    pools, picks = _all_picks(context, request, items)
    if knobs["color"] in OF_LOOP and not request.names and request.files.labeled is None:
        pools, picks = [], _labeled_in_rounds(context)
    candidates = np.flatnonzero(context.data.kept)
    first = np.empty(0, np.int64) if picks is None else picks.sort_values("order")["index"].unique()
    always = np.flatnonzero(np.isin(candidates, first))
    sample = sampled(len(candidates), knobs["projection"], knobs["sample"], always, context.seed)
    points, rows = projected(embeddings[sample], knobs["projection"], context.seed, context.report), candidates[sample]
    data = {
        "points": points,
        "items": items.iloc[rows],
        "picks": picks,
        "values": None if values is None else values[rows],
        "pictures": hover_tiles(context, rows, first[np.isin(first, rows)], knobs["thumbnails"]),
        "whole": len(candidates),
    }
    return PlotData(data, [*embedding_steps, *pools, *value_steps])


def _from_files(request: PlotRequest) -> PlotData:
    """Project embeddings of a file, colored by ``--labels``, with the indices of ``--labeled`` as picks."""
    import pandas as pd

    knobs, seed, file = request.knobs, request.provider.seed, request.files.labeled
    if knobs["color"] != "class":
        raise UserError(
            f"color = '{knobs['color']}' needs a run, and only files are given.",
            "Name the run with --run DIR.",
            knobs["color"],
        )
    embeddings, _ = plot_embeddings(request)
    picks, always = None, np.empty(0, np.int64)
    if file is not None:
        picks = _labeled_picks(file, None, len(embeddings))
        always = picks["index"].to_numpy()
    items = with_classes(pd.DataFrame({"index": np.arange(len(embeddings))}), request)
    rows = sampled(len(embeddings), knobs["projection"], knobs["sample"], always, seed)
    return PlotData(
        {
            "points": projected(embeddings[rows], knobs["projection"], seed),
            "items": items.iloc[rows],
            "picks": picks,
            "whole": len(embeddings),
        }
    )


def _labeled_picks(file: Path, items: pd.DataFrame | None, n: int) -> pd.DataFrame:
    """Read the images of ``--labeled``, of n, as picks in the order of the file."""
    import pandas as pd

    from initpools_cli.strategies.candidates import as_rows

    values = (
        images_of_table(file, "--labeled", items) if file.suffix.lower() in TABLES else read_array(file, "--labeled")
    )
    rows = as_rows("--labeled", values, n)
    # Indices stay in the order of the file, which is the order of choice.
    indices = rows if values.dtype == bool else values
    return pd.DataFrame({"index": indices, "order": np.arange(len(indices)), "pool": file.stem})


def _all_picks(
    context: Context, request: PlotRequest, items: pd.DataFrame
) -> tuple[list[FinishedStep], pd.DataFrame | None]:
    """Collect the images of ``--labeled`` and of the named pools; without either, of the newest pool."""
    import pandas as pd

    file = request.files.labeled
    if file is None:
        return picks_of(context, request.names)
    labeled = _labeled_picks(file, items, len(items))
    if not request.names:
        return [], labeled
    pools, picks = picks_of(context, request.names)
    return pools, pd.concat([labeled, picks])


def picks_of(context: Context, names: list[str]) -> tuple[list[FinishedStep], pd.DataFrame | None]:
    """Collect the picks of the named pools, or of the newest; columns pool, order, index; None without a pool."""
    import pandas as pd

    from initpools_cli.steps.select_pool import read_pool

    if not names and not context.run.folders("pool"):
        return [], None
    pools = select_steps(context, "pool", names, "initpools select-pool --budget 20")
    pools = pools if names else pools[-1:]
    return pools, pd.concat([read_pool(pool)[["order", "index"]].assign(pool=pool.name) for pool in pools])


def _color_values(
    context: Context, items: pd.DataFrame, color: str
) -> tuple[pd.DataFrame, np.ndarray | None, list[FinishedStep]]:
    """Return the items with their color column, or a score for every image, and the step that they are from."""
    from initpools_cli.steps.clusters import CLUSTERS, clusters_of
    from initpools_cli.steps.find_scores import scores_of
    from initpools_cli.steps.score_name import score_names

    if color == "class":
        return items, None, []
    if color == "cluster":
        step = clusters_of(context)
        return items.assign(cluster=[f"cluster {c}" for c in step.array(CLUSTERS)]), None, [step]
    if color in OF_LOOP:
        return _of_last_round(context, items, color)
    if color not in score_names():
        raise unknown_name("color", color, ["class", "cluster", *OF_LOOP, *score_names()], "initpools list scores")
    step = scores_of(context, color)
    return items, step.array("scores.npy"), [step]


def _of_last_round(
    context: Context, items: pd.DataFrame, color: str
) -> tuple[pd.DataFrame, np.ndarray | None, list[FinishedStep]]:
    """Color images by the last labeling round; labeled images have cross-validated predictions."""
    import pandas as pd

    from initpools_cli.labeling.stored_rounds import read_round_labels

    last = loop_rounds(context)[-1]
    texts = {"path": str, "label": str, "predicted": str}
    if color in ("label", "round"):
        labels = read_round_labels(last).set_index("index")
        labels = labels[labels["label"] != ""]
        if color == "round":
            number = labels["round"].reindex(items.index)
            return items.assign(cluster=[f"round {int(n)}" if n == n else "" for n in number]), None, [last]
        names = labels["label"].reindex(items.index).fillna("")
        return items.drop(columns="label").assign(**{"class": names}), None, [last]
    rows = last.frame("predictions.csv", dtype=texts, keep_default_na=False).set_index("index")
    rows = rows[["label", "confidence"]].set_axis(["predicted", "confidence"], axis=1)
    if "out_of_fold.csv" in last.facts["writes"]:
        out_of_fold = last.frame("out_of_fold.csv", dtype=texts, keep_default_na=False).set_index("index")
        rows = pd.concat([rows, out_of_fold[["predicted", "confidence"]]])
    if color == "prediction":
        names = rows["predicted"].reindex(items.index).fillna("")
        return items.drop(columns="label").assign(**{"class": names}), None, [last]
    return items, rows["confidence"].reindex(items.index).fillna(1.0).to_numpy(float), [last]


def _labeled_in_rounds(context: Context) -> pd.DataFrame:
    """Return the labeled images of all rounds as picks, in the order of the rounds."""
    from initpools_cli.labeling.stored_rounds import read_round_labels

    labels = read_round_labels(loop_rounds(context)[-1])
    labels = labels[labels["label"] != ""].sort_values("round", kind="stable")
    return labels[["index"]].assign(order=range(len(labels)), pool="labeled")
